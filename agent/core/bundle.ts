/** What the shipped single-file bundle tells the program it carries. Absent when Node runs the sources. */
export type Bundle = {
  readonly version: string
  /** ISO date of the commit that was built: no clock that shows less can be right. */
  readonly builtAt: string
  readonly file: string
  readonly addonSha256: string
  /** Source of the storage thread. */
  thread(): string
  /** SQLite's native addon, unpacked in memory. Undefined in a bundle that carries none. */
  addon(): Uint8Array
  /** Of an agent that is being started: as its command line and configuration file look, before anybody has read them properly. */
  likelyStateFolder(): string | undefined
  /** What V8 has compiled of the program so far; undefined when this start used what lies in the state folder. */
  compiled(): Uint8Array | undefined
  /** `compiled.bin` of the state folder, made of that. */
  compiledFile(compiled: Uint8Array): Uint8Array
}

// The loader in front of the bundle (deploy/tools/bundle-loader.cjs) passes it as a parameter of the module function.
declare const meshletBundle: Bundle | undefined
export const bundle: Bundle | undefined = typeof meshletBundle === 'undefined' ? undefined : meshletBundle
