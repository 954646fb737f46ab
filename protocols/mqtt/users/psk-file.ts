/** mosquitto's psk_file: `identity:hexadecimal key` a line; comments as in password files. */
import { walkLines } from '../../../core/os/files/lines.ts'
import type { TimeSlice } from '../../../core/os/time-slice.ts'
import { findUserNameProblem } from './user-name.ts'

export type PskFile = { readonly keys: ReadonlyMap<string, Buffer>; readonly problems: readonly string[] }

export const MAX_PSK_FILE_BYTES = 1024 * 1024
/** RFC 9257 §6 wants 128 bits at least; OpenSSL takes 512 bytes at most. */
const [MIN_KEY_BYTES, MAX_KEY_BYTES] = [16, 512]

/** Rejects with an Error when there is no key in it. */
export async function parsePskFile(text: string, slice: TimeSlice): Promise<PskFile> {
  const keys = new Map<string, Buffer>()
  const problems: string[] = []
  const twice = new Set<string>()
  await walkLines(text, slice, (raw, number) => {
    const line = raw.replace(/\r$/, '').trim()
    if (line === '' || line.startsWith('#')) return
    const at = line.lastIndexOf(':')
    const identity = line.slice(0, Math.max(0, at)).trim()
    const key = readKey(line.slice(at + 1).trim())
    const problem = at < 0 ? 'not of the form `identity:key`' : identityProblem(identity)
    if (problem !== undefined) problems.push(`line ${number} is ${problem}`)
    else if (!key)
      problems.push(`line ${number} has no key of ${MIN_KEY_BYTES} to ${MAX_KEY_BYTES} bytes in hexadecimal`)
    else if (keys.has(identity)) {
      twice.add(identity)
      problems.push(`line ${number} is of an identity that has a line already: neither is used`)
    } else keys.set(identity, key)
  })
  for (const identity of twice) keys.delete(identity)
  if (keys.size === 0) throw new Error(problems.length === 0 ? 'it has no key' : `it has no key: ${problems[0]}`)
  return { keys, problems }
}

function identityProblem(identity: string): string | undefined {
  const problem = findUserNameProblem(identity)
  return problem === undefined ? undefined : `of an identity that ${problem}`
}

function readKey(hex: string): Buffer | undefined {
  if (!/^(?:[0-9A-Fa-f]{2})+$/.test(hex)) return undefined
  const key = Buffer.from(hex, 'hex')
  return key.length >= MIN_KEY_BYTES && key.length <= MAX_KEY_BYTES ? key : undefined
}
