import { test } from 'node:test'
import assert from 'node:assert/strict'
import { decodeClusterMetadata } from '../../../../control-sync/decode/telemetry/cluster-metadata.ts'

test('the first service, and whether the cluster is of the mesh', () => {
  assert.deepEqual(decodeClusterMetadata(undefined), {})
  assert.deepEqual(
    decodeClusterMetadata({
      services: [{ host: 'a.b.svc', name: 'a', namespace: 'b' }, { host: 'other' }],
      external: true,
      disable_mx: true,
    }),
    {
      mesh: {
        service: { host: 'a.b.svc', name: 'a', namespace: 'b' },
        isExternal: true,
        withoutExchange: true,
      },
    },
  )
  for (const services of [[], 'a', [7], [null], [[]], {}])
    assert.deepEqual(decodeClusterMetadata({ services }), { mesh: { isExternal: false, withoutExchange: false } })
})
