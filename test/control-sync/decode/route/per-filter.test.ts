/** What a route says to the filter ext_authz (CheckSettings). */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { RouteFilter } from '../../../../model/route.ts'
import { first, to } from './route-rig.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
const GRPC = { envoy_grpc: { cluster_name: 'auth' } }

const perRoute = (config: JsonObject): RouteFilter | undefined =>
  first({
    ...to(),
    typed_per_filter_config: {
      authz: { '@type': type('extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute'), ...config },
    },
  }).filters?.get('authz')

test('a route: disabled, context_extensions, disable_request_body_buffering, with_request_body', () => {
  assert.deepEqual(perRoute({ disabled: true }), { off: false, extAuthz: false })
  assert.deepEqual(perRoute({ check_settings: { context_extensions: { a: 'b' } } }), {
    off: false,
    extAuthz: { context: { a: 'b' }, body: undefined },
  })
  assert.deepEqual(perRoute({ check_settings: { disable_request_body_buffering: true } })?.extAuthz, {
    context: {},
    body: false,
  })
  assert.deepEqual(perRoute({ check_settings: { with_request_body: { max_request_bytes: 3 } } })?.extAuthz, {
    context: {},
    body: { maxBytes: 3, partial: false, asBytes: false },
  })
  assert.equal(perRoute({ check_settings: { grpc_service: GRPC } }), undefined)
})
