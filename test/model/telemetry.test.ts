import { test } from 'node:test'
import assert from 'node:assert/strict'
import { HTTP_METRICS, ISTIO_LABELS, TCP_METRICS } from '../../model/telemetry.ts'

test("labels and metrics are those of Istio's page, each once", () => {
  const side = [
    'workload',
    'workload_namespace',
    'principal',
    'app',
    'version',
    'cluster',
    'canonical_service',
    'canonical_revision',
  ]
  assert.deepEqual(
    [...ISTIO_LABELS].toSorted(),
    [
      'reporter',
      ...side.flatMap((what) => [`source_${what}`, `destination_${what}`]),
      'destination_service',
      'destination_service_name',
      'destination_service_namespace',
      'request_protocol',
      'response_code',
      'grpc_response_status',
      'response_flags',
      'connection_security_policy',
    ].toSorted(),
  )
  assert.equal(new Set([...HTTP_METRICS, ...TCP_METRICS]).size, 8)
})
