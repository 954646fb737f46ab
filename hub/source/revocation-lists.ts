/**
 * Whatever is revoked as several lists of some thousands each: one more revocation is one more list to sign, and for devices
 * on the relay the difference of that one. A serial's last byte says on which list it stands; agents put them together.
 */
import { signCrl } from '../ca/crl.ts'
import type { Root } from '../ca/root.ts'

const PER_LIST = 4_096
const MAX_LISTS = 256

type Signed = { readonly content: string; readonly pem: string }

export class RevocationLists {
  /** By root, number of lists, and list. */
  #signed = new Map<string, Signed>()

  /** Each root signs the same: agents believe the one that they know. */
  sign(roots: readonly Root[], serials: readonly string[], thisUpdateMs: number): readonly string[] {
    const lists = divide(serials)
    const next = new Map<string, Signed>()
    for (const root of roots)
      lists.forEach((list, at) => {
        const key = `${root.certificate.fingerprint256} ${lists.length} ${at}`
        const content = list.join()
        const known = this.#signed.get(key)
        const isSame = known?.content === content
        next.set(key, isSame ? known : { content, pem: signCrl(root, { serials: list, thisUpdateMs }) })
      })
    this.#signed = next
    return [...next.values()].map(({ pem }) => pem)
  }
}

/** Their number grows by doubling, so that they rarely change all at once. */
function divide(serials: readonly string[]): readonly string[][] {
  let count = 1
  while (count * PER_LIST < serials.length && count < MAX_LISTS) count *= 2
  const lists = Array.from({ length: count }, (): string[] => [])
  for (const serial of serials) lists[Number.parseInt(serial.slice(-2), 16) % count]!.push(serial)
  for (const list of lists) list.sort()
  return lists
}
