import { parseIpBytes } from '../../../core/ip-source.ts'

/** An address, not a name. */
export function isIp(host: string): boolean {
  return parseIpBytes(host) !== undefined
}
