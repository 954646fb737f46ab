import type { MeshError } from '../errors.ts'
import type { Jwks } from './jwks.ts'

/** Where the keys of an issuer come from. */
export interface KeySource extends Disposable {
  /** Throws why there are none. */
  current(): Jwks
  /**
   * A token names a key that is not there: the issuer may have a new one. Resolves when it was looked for, or may not
   * be yet; true = there are other keys now. Never rejects.
   */
  lookAgain(): Promise<boolean>
  problems(): readonly MeshError[]
}
