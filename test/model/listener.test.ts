import { test } from 'node:test'
import assert from 'node:assert/strict'
import { matchesPort, type ConnectionMatch } from '../../model/listener.ts'

const ports = (from: number, to: number): ConnectionMatch => ({ kind: 'destination-port', from, to })
const matching = (match: ConnectionMatch): number[] =>
  [79, 80, 81, 89, 90, 91, 443].filter((port) => matchesPort(match, port))

for (const [what, match, expected] of [
  ['any', { kind: 'any' }, [79, 80, 81, 89, 90, 91, 443]],
  ['a range, both ends included', ports(80, 90), [80, 81, 89, 90]],
  ['one port', ports(80, 80), [80]],
  ['not', { kind: 'not', of: ports(80, 90) }, [79, 91, 443]],
  ['and', { kind: 'and', of: [ports(80, 90), ports(90, 500)] }, [90]],
  ['or', { kind: 'or', of: [ports(79, 79), ports(443, 443)] }, [79, 443]],
  ['and of nothing', { kind: 'and', of: [] }, [79, 80, 81, 89, 90, 91, 443]],
  ['or of nothing', { kind: 'or', of: [] }, []],
  ['not of or', { kind: 'not', of: { kind: 'or', of: [ports(0, 89), ports(443, 443)] } }, [90, 91]],
] as const satisfies readonly (readonly [string, ConnectionMatch, readonly number[]])[])
  test(`ports that match: ${what}`, () => {
    assert.deepEqual(matching(match), expected)
  })
