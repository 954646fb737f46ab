import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { DownstreamTls } from '../../../model/tls.ts'
import { decode } from '../../../control-sync/decode/decode.ts'
import { issuesOf } from '../../helpers/control-plane/resources.ts'
import { T, tcp, good, listenerBytes, issues } from './listener/listener-rig.ts'

for (const { name, context, problem } of [
  {
    name: 'an unknown SDS secret',
    context: { tls_certificate_sds_secret_configs: [{ name: 'somewhere' }] },
    problem: /secret .* is not known/,
  },
  {
    name: 'names without roots',
    context: {
      tls_certificate_sds_secret_configs: [{ name: 'default' }],
      validation_context: { match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'a' } }] },
    },
    problem: /names without roots/,
  },
  {
    name: 'a pin that is none',
    context: {
      tls_certificate_sds_secret_configs: [{ name: 'default' }],
      combined_validation_context: {
        default_validation_context: { verify_certificate_spki: ['x'] },
        validation_context_sds_secret_config: { name: 'ROOTCA' },
      },
    },
    problem: /verify_certificate_spki\[0\]: is no SHA-256 in base64/,
  },
  {
    name: 'unverified chains',
    context: {
      tls_certificate_sds_secret_configs: [{ name: 'default' }],
      combined_validation_context: {
        default_validation_context: { trust_chain_verification: 'ACCEPT_UNTRUSTED' },
        validation_context_sds_secret_config: { name: 'ROOTCA' },
      },
    },
    problem: /trust_chain_verification/,
  },
  {
    name: 'a cipher string with operators',
    context: {
      tls_certificate_sds_secret_configs: [{ name: 'default' }],
      tls_params: { cipher_suites: ['ALL:@SECLEVEL=0'] },
    },
    problem: /is no cipher suite/,
  },
  {
    name: 'a client certificate that nothing checks',
    context: { tls_certificate_sds_secret_configs: [{ name: 'default' }] },
    problem: /require_client_certificate without roots/,
  },
]) {
  test(`TLS settings that would check less than they say are issues: ${name}`, () => {
    const socket = {
      name: 'tls',
      typed_config: {
        '@type': `${T}.transport_sockets.tls.v3.DownstreamTlsContext`,
        require_client_certificate: true,
        common_tls_context: context,
      },
    }
    assert.match(issues({}, { filters: [tcp], transport_socket: socket }).join('\n'), problem)
  })
}
test('certificates from files come through the given reader, and are refused without one', () => {
  const common = {
    tls_certificates: [{ certificate_chain: { filename: '/c.pem' }, private_key: { inline_string: 'KEY' } }],
  }
  const bytes = listenerBytes(
    {},
    {
      filters: [tcp],
      transport_socket: {
        name: 'tls',
        typed_config: { '@type': `${T}.transport_sockets.tls.v3.DownstreamTlsContext`, common_tls_context: common },
      },
    },
  )
  const read = decode('listener', bytes, { readFile: (file) => (file === '/c.pem' ? 'CHAIN' : undefined) })
  assert.deepEqual(read.ok && read.value.filterChains[0]!.tls!.certificate, {
    from: 'pem',
    chainPem: 'CHAIN',
    keyPem: 'KEY',
  })
  const without = decode('listener', bytes)
  assert.match(issuesOf(without)[0]!.path, /tls_certificates\[0\]\.certificate_chain\.filename$/)
})

test('secrets that come from the control plane are named by what they are, over ADS whatever their name', () => {
  const ads = { ads: {} }
  const value = (common: JsonObject): DownstreamTls | undefined =>
    good(
      {},
      {
        filters: [tcp],
        transport_socket: {
          name: 'tls',
          typed_config: {
            '@type': `${T}.transport_sockets.tls.v3.DownstreamTlsContext`,
            common_tls_context: common,
          },
        },
      },
    ).value.filterChains[0]!.tls
  for (const name of ['kubernetes://web', 'kubernetes-gateway://ns/web', 'invalid://'])
    assert.deepEqual(value({ tls_certificate_sds_secret_configs: [{ name }] })?.certificate, { from: 'secret', name })
  const made = value({
    tls_certificate_sds_secret_configs: [{ name: 'own', sds_config: ads }],
    combined_validation_context: {
      default_validation_context: { match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'a' } }] },
      validation_context_sds_secret_config: { name: 'kubernetes://web-cacert', sds_config: ads },
    },
  })
  assert.deepEqual(made?.certificate, { from: 'secret', name: 'own' })
  assert.deepEqual(made?.validation?.roots, { from: 'secret', name: 'kubernetes://web-cacert' })
  assert.equal(made?.validation?.sans.length, 1)
})
