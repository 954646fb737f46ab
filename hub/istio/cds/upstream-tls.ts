/** TLS towards a cluster: automatic, of the mesh, or of the rule (core/cluster_tls.go). */
import type { ClientTls } from '../kinds/destination-rule.ts'
import { makeAny, makeExtension, type Json } from '../json.ts'
import type { MtlsMode } from '../mesh/peer-policies.ts'
import { makeUpstreamTls, matchExactly, nameSecret, RAW_BUFFER } from '../security/tls-contexts.ts'
import { isHttp2Cluster, type ClusterDraft } from './cluster.ts'

export type TlsFacts = {
  readonly isExternal: boolean
  /** Of the workloads behind it; undefined: unknown. */
  readonly mode: MtlsMode | undefined
  readonly accounts: readonly string[]
  readonly sni: string
}

export function applyUpstreamTls(draft: ClusterDraft, tls: ClientTls | undefined, facts: TlsFacts): void {
  if (!tls) {
    if (facts.isExternal || facts.mode === undefined || facts.mode === 'DISABLE') return
    const socket = makeMeshTls(draft, { accounts: facts.accounts, sni: facts.sni })
    // Headless services: who is meant is not known.
    if (draft.discovery === 'ORIGINAL_DST') draft.fields['transport_socket'] = socket
    else
      draft.fields['transport_socket_matches'] = [
        { name: 'tlsMode-istio', match: { tlsMode: 'istio' }, transport_socket: socket },
        { name: 'tlsMode-disabled', match: {}, transport_socket: RAW_BUFFER },
      ]
    return
  }
  switch (tls.mode) {
    case 'ISTIO_MUTUAL':
      draft.fields['transport_socket'] = makeMeshTls(draft, {
        accounts: tls.subjectAltNames ?? facts.accounts,
        sni: tls.sni || facts.sni,
      })
      break
    case 'SIMPLE':
    case 'MUTUAL':
      draft.fields['transport_socket'] = makeOwnTls(draft, tls, facts)
      break
    case 'DISABLE':
    case undefined:
      break
    default:
      tls.mode satisfies never
  }
}

function makeMeshTls(draft: ClusterDraft, { accounts, sni }: Pick<TlsFacts, 'accounts' | 'sni'>): Json {
  return makeUpstreamTls({
    sni,
    common: {
      alpn_protocols: [...(['istio-peer-exchange', 'istio'] as const), ...(isHttp2Cluster(draft) ? ['h2'] : [])],
      tls_certificate_sds_secret_configs: [nameSecret('default')],
      combined_validation_context: {
        default_validation_context: matchExactly(accounts),
        validation_context_sds_secret_config: nameSecret('ROOTCA'),
      },
    },
  })
}

/** With files of the device, or its own roots. */
function makeOwnTls(draft: ClusterDraft, tls: ClientTls, facts: TlsFacts): Json {
  const isChecked = tls.insecureSkipVerify !== true
  setAutomatic(draft, tls, isChecked)
  const names = tls.subjectAltNames?.length ? tls.subjectAltNames : facts.accounts
  const chain = `file-cert:${tls.clientCertificate}~${tls.privateKey}`
  return makeUpstreamTls({
    sni: tls.sni,
    common: {
      ...(tls.mode === 'MUTUAL' ? { tls_certificate_sds_secret_configs: [nameSecret(chain)] } : {}),
      ...(isChecked
        ? {
            combined_validation_context: {
              default_validation_context: {
                ...matchExactly(names),
                ...(tls.caCrl ? { crl: { filename: tls.caCrl } } : {}),
              },
              validation_context_sds_secret_config: nameSecret(`file-root:${tls.caCertificates || 'system'}`),
            },
          }
        : { validation_context: {} }),
      ...(isHttp2Cluster(draft) ? { alpn_protocols: ['h2'] } : {}),
    },
  })
}

/** Where the rule names no server, the request's host is asked for and checked. */
function setAutomatic(draft: ClusterDraft, tls: ClientTls, isChecked: boolean): void {
  const setsSni = !tls.sni
  const checksName = setsSni && !tls.subjectAltNames?.length && isChecked
  if (!setsSni) return
  draft.http ??= {}
  draft.http.upstream = { auto_sni: true, ...(checksName ? { auto_san_validation: true } : {}) }
}

const PROXY_PROTOCOL = 'envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport'

/** Around whatever socket there is. */
export function applyProxyProtocol(draft: ClusterDraft, version: 'V1' | 'V2'): void {
  const wrap = (inner: Json): Json =>
    makeExtension(
      'envoy.transport_sockets.upstream_proxy_protocol',
      makeAny(PROXY_PROTOCOL, { config: { version }, transport_socket: inner }),
    )
  const { transport_socket: socket, transport_socket_matches: matches } = draft.fields
  if (Array.isArray(matches))
    draft.fields['transport_socket_matches'] = (matches as Json[]).map((m) => ({
      ...m,
      transport_socket: wrap(m['transport_socket'] as Json),
    }))
  else draft.fields['transport_socket'] = wrap((socket as Json | undefined) ?? RAW_BUFFER)
}
