/** Which ports of an inbound listener are looked at before a chain is chosen (core/listener_inbound.go). */
import type { Json } from '../json.ts'
import type { IstioNode } from '../node.ts'
import { HTTP_INSPECTOR, ORIGINAL_DST, ORIGINAL_SRC, TLS_INSPECTOR } from './filters.ts'

/** An application that speaks first must not wait: ports that need no look are left out. */
export function makeListenerFilters(node: IstioNode, chains: readonly Json[], bindsToPort: boolean): Json[] {
  const needs = new Map<number, { tls: boolean; http: boolean }>()
  for (const chain of chains) {
    const match = (chain['filter_chain_match'] ?? {}) as Json
    const port = Number(match['destination_port'] ?? 0)
    const known = needs.get(port) ?? { tls: false, http: false }
    const alpn = (match['application_protocols'] ?? []) as string[]
    needs.set(port, {
      tls: known.tls || match['transport_protocol'] === 'tls',
      http: known.http || alpn.includes('http/1.1') || alpn.includes('h2c'),
    })
  }
  const all = [...needs]
  return [
    ...(bindsToPort ? [] : [ORIGINAL_DST]),
    ...(!bindsToPort && node.interception === 'TPROXY' ? [ORIGINAL_SRC] : []),
    ...(all.some(([, n]) => n.tls) ? [inspectTls(needs)] : []),
    ...(all.some(([, n]) => n.http)
      ? [
          exclude(
            HTTP_INSPECTOR,
            all.filter(([, n]) => !n.http).map(([port]) => port),
          ),
        ]
      : []),
  ]
}

function inspectTls(needs: ReadonlyMap<number, { readonly tls: boolean }>): Json {
  const isDefault = needs.get(0)?.tls === true
  const ports = [...needs].filter(([port, n]) => port !== 0 && n.tls !== isDefault).map(([port]) => port)
  if (isDefault || ports.length === 0) return exclude(TLS_INSPECTOR, ports)
  return { ...TLS_INSPECTOR, filter_disabled: { not_match: matchPorts(ports) } }
}

function exclude(filter: Json, ports: readonly number[]): Json {
  return ports.length === 0 ? filter : { ...filter, filter_disabled: matchPorts(ports) }
}

function matchPorts(ports: readonly number[]): Json {
  const rules = [...ports]
    .sort((a, b) => a - b)
    .map((port) => ({ destination_port_range: { start: port, end: port + 1 } }))
  return rules.length === 1 ? rules[0]! : { or_match: { rules } }
}
