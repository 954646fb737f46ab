import type { Script } from 'node:vm'

/** What the shipped single-file bundle tells the program it carries. Absent when Node runs the sources. */
export type Bundle = {
  readonly version: string
  /** ISO date of the commit that was built: no clock that shows less can be right. */
  readonly builtAt: string
  readonly file: string
  /** Source of the storage thread. */
  readonly thread: string
  readonly addonSha256: string
  /**
   * Open descriptor of the SQLite addon that `meshlet precompile` has put beside the bundle, where this process cannot
   * have written it.
   */
  readonly addonBeside: number | undefined
  /** Where the addon stands in the bundle, which stays open: Zstandard in base64. */
  readonly encodedAddon: BundlePart
  /** Where the page of the console stands, JSON: of a hub. */
  readonly page: BundlePart | undefined
  /** The program as it runs. */
  readonly script: Script
  readonly programSha256: string
}

/** Read when it is needed: text that would take room in memory otherwise. */
export type BundlePart = { readonly fd: number; readonly from: number; readonly length: number }

// The front of the bundle (tools/build/bundle-front.cjs) passes it as a parameter of the module function.
declare const meshletBundle: Bundle | undefined
export const bundle: Bundle | undefined = typeof meshletBundle === 'undefined' ? undefined : meshletBundle

/** Behind the name of the bundle's file; the front knows them too. */
export const BESIDE = { compiled: '.compiled', addon: '.sqlite.node' } as const
