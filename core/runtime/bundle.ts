/** What the shipped single-file bundle tells the program it carries. Absent when Node runs the sources. */
export type Bundle = {
  readonly version: string
  /** ISO date of the commit that was built: no clock that shows less can be right. */
  readonly builtAt: string
  readonly file: string
  readonly addonSha256: string
  /** Source of the storage thread. */
  thread(): string
  /** Where SQLite's native addon stands in the bundle, which stays open. */
  readonly packedAddon: PackedAddon
  /**
   * Open descriptor of what `meshlet precompile` has made of it beside the bundle, where this process cannot have
   * written that.
   */
  addonBeside(): number | undefined
  /** This start uses what `meshlet precompile` has made of the program. */
  readonly usesCompiled: boolean
  /** What the loader takes beside the bundle: what V8 has compiled of the program so far, under the flags of a run. */
  compiled(): Uint8Array
}

/** Base64 of what Brotli compressed. */
export type PackedAddon = { readonly fd: number; readonly from: number; readonly length: number }

// The loader in front of the bundle (tools/build/bundle-loader.cjs) passes it as a parameter of the module function.
declare const meshletBundle: Bundle | undefined
export const bundle: Bundle | undefined = typeof meshletBundle === 'undefined' ? undefined : meshletBundle

/** Behind the name of the bundle's file; the loader knows them too. */
export const BESIDE = { compiled: '.compiled', addon: '.sqlite.node' } as const
