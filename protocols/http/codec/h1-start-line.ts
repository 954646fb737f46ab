/** The parts of a request line and of a status line that are numbers (RFC 9112 §2.3, §4). */
import { readDigit } from './framing.ts'
import type { Fault } from './h1-head.ts'

type Fail = (fault: Fault, what: string) => never

/** Of the version that begins at `at` and ends the line. */
export function readMinorVersion(line: string, at: number, fail: Fail): 0 | 1 {
  if (line.length === at + 8 && line.startsWith('HTTP/1.', at)) {
    const minor = line.charCodeAt(at + 7)
    if (minor === 49) return 1
    if (minor === 48) return 0
  }
  if (/^HTTP\/\d(?:\.\d)?$/.test(line.slice(at, at + 10)))
    fail('unsupported', 'only HTTP/1.0 and HTTP/1.1 are spoken here')
  return fail('malformed', 'the version is not HTTP/1.1 (RFC 9112 §2.3)')
}

/** The space after the status is often left out with an empty reason; nothing depends on it. */
export function readStatus(line: string, fail: Fail): number {
  const hundreds = readDigit(line, 9)
  const tens = readDigit(line, 10)
  const ones = readDigit(line, 11)
  if (hundreds < 1 || tens < 0 || ones < 0 || (line.length > 12 && line[12] !== ' '))
    fail('malformed', 'the status line is not version, status, reason (RFC 9112 §4)')
  return hundreds * 100 + tens * 10 + ones
}
