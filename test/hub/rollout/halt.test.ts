import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import { findOpenGate, formatGate, parseHalt, type Evidence } from '../../../hub/rollout/halt.ts'

const QUIET: Evidence = {
  devices: 100,
  rejected: [],
  lost: [],
  traffic: { requests: 0, failures: 0 },
  before: { requests: 0, failures: 0 },
  rest: { requests: 0, failures: 0 },
}
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `gw-${i}`)
const opens = (text: string, evidence: Partial<Evidence>): string | undefined =>
  findOpenGate(parseHalt(text), { ...QUIET, ...evidence })

test('gates are read as they are written', () => {
  for (const text of ['rejected>0, lost>2%, errors>2x', 'lost>=3', 'errors>5%', 'errors>=1.5x,rejected>0.5%'])
    assert.equal(parseHalt(text).map(formatGate).join(','), text.replaceAll(' ', ''))
  assert.deepEqual(parseHalt(' lost  > 2 % '.replace(' %', '%')).map(formatGate), ['lost>2%'])
  assert.deepEqual(parseHalt('never'), [])
})

for (const [text, place, problem] of [
  ['', 1, 'expected rejected, lost or errors'],
  ['rejected>0, losst>2%', 13, 'not losst'],
  ['rejected', 9, 'expected > or >='],
  ['rejected<1', 9, 'expected > or >='],
  ['lost>', 6, 'expected a number'],
  ['lost>-1', 6, 'expected a number'],
  ['lost>2% and rejected>0', 9, 'expected a comma'],
  ['rejected>2x', 10, 'compared with 3 or 2%'],
  ['errors>3', 8, 'compared with 2x or 5%'],
  ['lost>101%', 6, '100 %'],
  ['errors>0.5x', 8, '1x'],
  ['rejected>0,,lost>1', 12, 'expected rejected'],
  ['toString>0', 1, 'not toString'],
] as const)
  test(`a mistake is named with its place: ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => parseHalt(text),
      (err: unknown) =>
        err instanceof MeshError &&
        err.code === 'MESH_CONFIG_INVALID' &&
        err.message.includes(`character ${place}:`) &&
        err.message.includes(problem),
    )
  })

test('devices are counted, or their share', () => {
  assert.equal(opens('rejected>0', {}), undefined)
  assert.match(opens('rejected>0', { rejected: names(1) }) ?? '', /^rejected>0: 1 of 100 device\(s\), gw-0$/)
  assert.equal(opens('lost>2%', { lost: names(2) }), undefined)
  assert.match(opens('lost>2%', { lost: names(3) }) ?? '', /3 of 100/)
  assert.match(opens('lost>=2%', { lost: names(2) }) ?? '', /2 of 100/)
  assert.match(opens('lost>7', { lost: names(8) }) ?? '', /gw-4 …/)
})

test('failures are compared with before and with the others, and few of them say nothing', () => {
  const errors = (traffic: [number, number], before: [number, number], rest: [number, number]): string | undefined => {
    const sum = ([failures, requests]: [number, number]) => ({ failures, requests })
    return opens('errors>2x', { traffic: sum(traffic), before: sum(before), rest: sum(rest) })
  }
  assert.match(errors([50, 100], [1, 1_000], [0, 0]) ?? '', /50 of 100 requests failed, 0.1 % before/)
  assert.equal(errors([4, 4], [0, 1_000], [0, 1_000]), undefined, 'a handful')
  assert.equal(errors([50, 100], [30, 100], [0, 100]), undefined, 'it was no better before')
  assert.equal(errors([50, 100], [0, 100], [40, 100]), undefined, 'the others have it, too')
  assert.equal(errors([15, 1_000], [0, 1_000], [0, 1_000]), undefined, '1.5 % is less than twice one percent')
  assert.match(opens('errors>5%', { traffic: { requests: 100, failures: 6 } }) ?? '', /6 of 100/)
})
