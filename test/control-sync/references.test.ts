import { test } from 'node:test'
import assert from 'node:assert/strict'
import { collectReferences, findDangling, WHO_NAMES } from '../../control-sync/references.ts'

/** One resource of each kind that names all that it can name. */
const RESOURCES = {
  cluster: {
    discovery: { kind: 'eds', serviceName: 'e' },
    transport: { kind: 'plaintext' },
    transportMatches: [{ transport: { kind: 'tls', tls: { certificate: { from: 'secret', name: 's' } } } }],
  },
  listener: {
    filterChains: [
      {
        tls: { validation: { roots: { from: 'secret', name: 's' } } },
        codec: { kind: 'http', http: { filters: [], routes: { from: 'rds', name: 'r' } } },
      },
      {
        codec: {
          kind: 'http',
          http: {
            filters: [],
            routes: {
              from: 'inline',
              config: { virtualHosts: [{ routes: [{ action: { kind: 'forward', clusters: [{ name: 'c' }] } }] }] },
            },
          },
        },
      },
    ],
    defaultFilterChain: undefined,
    extensions: ['x'],
  },
  route: { virtualHosts: [{ routes: [{ action: { kind: 'forward', clusters: [{ name: 'c' }] } }] }] },
} as const

test('who names what is looked for where it can stand, and nowhere else', () => {
  const kinds = ['cluster', 'endpoint', 'route', 'secret', 'extension'] as const
  const found = Object.fromEntries(kinds.map((kind) => [kind, [] as string[]]))
  for (const holder of ['cluster', 'listener', 'route'] as const) {
    const references = collectReferences(holder, RESOURCES[holder])
    for (const kind of kinds) if ((references[kind] ?? []).length > 0) found[kind]!.push(holder)
  }
  assert.deepEqual(found, Object.fromEntries(Object.entries(WHO_NAMES).map(([kind, by]) => [kind, by.toSorted()])))
})

test('a cluster that is named and does not exist is told with who names it', () => {
  const holders = [
    { kind: 'route', name: 'r', references: { cluster: ['a', 'b'] } },
    { kind: 'listener', name: 'l', references: { route: ['r'] } },
  ] as const
  assert.deepEqual(
    findDangling(holders, (name) => name === 'a').map(({ holder, name }) => [holder.name, name]),
    [['r', 'b']],
  )
})
