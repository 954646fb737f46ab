/** Keys as the registry knows them: whose it is (hub/registry/authority.ts). */
import { createHash, type KeyObject } from 'node:crypto'
import type { Root } from './root.ts'

export const listKeyHashes = (roots: readonly Root[]): readonly string[] =>
  roots.map(({ certificate }) => hashPublicKey(certificate.publicKey))

export const hashPublicKey = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, 32)
