import { test } from 'node:test'
import assert from 'node:assert/strict'
import { matchesFilter, type LogFilter } from '../../../model/access-log/filter.ts'
import { compileCel } from '../../../model/access-log/cel/evaluate.ts'
import type { LogFacts } from '../../../model/access-log/facts.ts'
import { factsOf } from '../access-log-facts.ts'

const not: LogFilter = { kind: 'or', of: [] }
const match = { filter: 'f', path: ['a'], value: { kind: 'exact-number', value: 1 }, invert: false } as const
const expression = compileCel('response.code == 200')
assert.ok(!('problem' in expression))

for (const [name, filter, facts, want] of [
  ['all', { kind: 'all' }, factsOf(), true],
  ['status eq', { kind: 'status', is: 'eq', value: 200 }, factsOf(), true],
  ['status ge', { kind: 'status', is: 'ge', value: 201 }, factsOf(), false],
  ['status le', { kind: 'status', is: 'le', value: 200 }, factsOf(), true],
  ['status ne', { kind: 'status', is: 'ne', value: 200 }, factsOf(), false],
  ['duration', { kind: 'duration', is: 'ge', value: 5 }, factsOf({ times: { DS_TX_END: 5.5 } }), true],
  ['a share that is met', { kind: 'fraction', fraction: 0.6 }, factsOf(), true],
  ['a share that is not met', { kind: 'fraction', fraction: 0.5 }, factsOf(), false],
  ['any flag, none is there', { kind: 'flags', flags: new Set() }, factsOf(), false],
  ['any flag', { kind: 'flags', flags: new Set() }, factsOf({ flags: ['UF'] }), true],
  ['another flag', { kind: 'flags', flags: new Set(['UH']) }, factsOf({ flags: ['UF'] }), false],
  ['gRPC status', { kind: 'grpc-status', codes: new Set([5]), exclude: false }, factsOf({ grpcStatus: 5 }), true],
  [
    'gRPC status of HTTP',
    { kind: 'grpc-status', codes: new Set([14]), exclude: false },
    factsOf({ status: 503 }),
    true,
  ],
  [
    'not that gRPC status',
    { kind: 'grpc-status', codes: new Set([5]), exclude: true },
    factsOf({ grpcStatus: 5 }),
    false,
  ],
  ['metadata', { kind: 'metadata', match, whenAbsent: false }, factsOf({ metadata: { f: { a: 1 } } }), true],
  ['other metadata', { kind: 'metadata', match, whenAbsent: true }, factsOf({ metadata: { f: { a: 2 } } }), false],
  ['no metadata', { kind: 'metadata', match, whenAbsent: true }, factsOf(), true],
  ['type', { kind: 'type', types: new Set(['NotSet']), exclude: false }, factsOf(), false],
  ['not that type', { kind: 'type', types: new Set(['NotSet']), exclude: true }, factsOf(), true],
  ['no trace', { kind: 'traced' }, factsOf(), false],
  ['a trace', { kind: 'traced' }, factsOf({ spanId: '1' }), true],
  ['and', { kind: 'and', of: [{ kind: 'all' }, not] }, factsOf(), false],
  ['or', { kind: 'or', of: [{ kind: 'all' }, not] }, factsOf(), true],
  ['an expression', { kind: 'cel', expression }, factsOf({ status: 201 }), false],
] as const satisfies readonly (readonly [string, LogFilter, LogFacts, boolean])[])
  test(`filter: ${name}`, () => {
    assert.equal(matchesFilter(filter, facts, { float: () => 0.5 } as Parameters<typeof matchesFilter>[2]), want)
  })
