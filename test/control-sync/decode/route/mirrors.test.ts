import { test } from 'node:test'
import assert from 'node:assert/strict'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { RouteAction_RequestMirrorPolicySchema as Schema } from '../../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { DecodePath } from '../../../../control-sync/decode/fields/decode-path.ts'
import { decodeMirrors } from '../../../../control-sync/decode/route/mirrors.ts'

const run = (...from: MessageInitShape<typeof Schema>[]): { readonly mirrors: unknown; readonly issues: string[] } => {
  const at = DecodePath.top()
  const { mirrors } = decodeMirrors(
    at,
    from.map((one) => create(Schema, one)),
  )
  return { mirrors, issues: at.issues.map((i) => `${i.path}: ${i.problem}`) }
}

test('no request_mirror_policies: the next level has its say', () => assert.equal(run().mirrors, undefined))
test('without runtime_fraction all requests are mirrored', () =>
  assert.deepEqual(run({ cluster: 'c' }).mirrors, [{ cluster: { name: 'c' }, fraction: 1, keepsHost: false }]))
test('runtime_fraction, cluster_header and disable_shadow_host_suffix_append', () =>
  assert.deepEqual(
    run({
      clusterHeader: 'X-To',
      runtimeFraction: { defaultValue: { numerator: 25 } },
      disableShadowHostSuffixAppend: true,
    }).mirrors,
    [{ cluster: { header: 'x-to' }, fraction: 0.25, keepsHost: true }],
  ))
for (const from of [{}, { cluster: 'c', clusterHeader: 'x' }])
  test(`neither one of cluster and cluster_header nor both: ${JSON.stringify(from)}`, () =>
    assert.deepEqual(run(from).issues, ['request_mirror_policies[0]: needs one of cluster and cluster_header']))
