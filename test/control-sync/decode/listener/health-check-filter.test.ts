/** Health checks of the proxy itself. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { good, http, issues, T } from './listener-rig.ts'

const chain = (health: JsonObject): JsonObject => ({
  filters: [
    http({
      http_filters: [
        { name: 'h', typed_config: { '@type': `${T}.filters.http.health_check.v3.HealthCheck`, ...health } },
      ],
    }),
  ],
})

test('passes through, keeps, and asks clusters', () => {
  const { value, ignored } = good(
    {},
    chain({
      pass_through_mode: true,
      cache_time: '2.5s',
      headers: [{ name: ':path', string_match: { exact: '/h' } }],
      cluster_min_healthy_percentages: { a: { value: 12.7 } },
    }),
  )
  const { codec } = value.filterChains[0]!
  const filter = codec.kind === 'http' ? codec.http.filters[0] : undefined
  assert.ok(filter?.kind === 'health-check')
  const { headers, ...rest } = filter.health
  assert.deepEqual(rest, { passesThrough: true, cacheMs: 2500, clusters: [{ name: 'a', minPercent: 12 }] })
  assert.deepEqual([headers.length, ignored], [1, []])
})

test('what Envoy refuses refuses here', () => {
  const at = 'filter_chains[0].filters[0].typed_config.http_filters[0].typed_config'
  const found = (health: JsonObject): string[] => issues({}, chain(health)).map((one) => one.replace(at, ''))
  assert.deepEqual(found({}), ['.pass_through_mode: is missing'])
  assert.deepEqual(found({ pass_through_mode: false, cache_time: '1s' }), ['.cache_time: needs pass_through_mode'])
  assert.deepEqual(found({ pass_through_mode: false, cluster_min_healthy_percentages: { a: { value: 101 } } }), [
    '.cluster_min_healthy_percentages[a]: must be 0 to 100',
  ])
})
