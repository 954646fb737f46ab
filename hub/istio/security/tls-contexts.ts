/** TLS of the mesh: contexts with the node's certificate (security/authn/utils, security/model). */
import { makeAny, makeExtension, type Json } from '../json.ts'

/** An agent asks its own secret service. */
export function nameSecret(name: string): Json {
  const source = {
    api_config_source: {
      api_type: 'GRPC',
      grpc_services: [{ envoy_grpc: { cluster_name: 'sds-grpc' } }],
      set_node_on_first_message_only: true,
      transport_api_version: 'V3',
    },
    // Of the mesh, the first one is waited for.
    ...(name.startsWith('file-') ? {} : { initial_fetch_timeout: '0s' }),
    resource_api_version: 'V3',
  }
  return { name, sds_config: source }
}

const TLS = 'envoy.extensions.transport_sockets.tls.v3'
export const VERSIONS: Json = { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' }
const CIPHERS = [
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'AES256-GCM-SHA384',
  'AES128-GCM-SHA256',
]

/** Of an inbound chain. Clients of the node's own trust domain only. */
export function makeDownstreamTls(protocol: 'http' | 'tcp', trustDomain: string): Json {
  return makeExtension(
    'envoy.transport_sockets.tls',
    makeAny(`${TLS}.DownstreamTlsContext`, {
      common_tls_context: {
        tls_params: { ...VERSIONS, cipher_suites: CIPHERS },
        alpn_protocols: protocol === 'tcp' ? ['istio-peer-exchange', 'h2', 'http/1.1'] : ['h2', 'http/1.1'],
        tls_certificate_sds_secret_configs: [nameSecret('default')],
        combined_validation_context: {
          default_validation_context: { match_subject_alt_names: [{ prefix: `spiffe://${trustDomain}/` }] },
          validation_context_sds_secret_config: nameSecret('ROOTCA'),
        },
      },
      require_client_certificate: true,
    }),
  )
}

export type UpstreamTls = { readonly common: Json; readonly sni: string | undefined }
export function makeUpstreamTls({ common, sni }: UpstreamTls): Json {
  const context = { common_tls_context: { tls_params: VERSIONS, ...common }, ...(sni ? { sni } : {}) }
  return makeExtension('envoy.transport_sockets.tls', makeAny(`${TLS}.UpstreamTlsContext`, context))
}

export function matchExactly(names: readonly string[]): Json {
  return names.length === 0 ? {} : { match_subject_alt_names: names.map((exact) => ({ exact })) }
}

export const RAW_BUFFER: Json = makeExtension(
  'envoy.transport_sockets.raw_buffer',
  makeAny('envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer'),
)
