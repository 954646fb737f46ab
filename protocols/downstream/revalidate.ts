/**
 * What a configuration change means for connections that are open. Each is asked the same questions as a new one, with
 * what is known of it; those with the same answers go on and do not notice. Fail closed: who would be refused now is
 * cut off now.
 */
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { Codec, FilterChain, Listener } from '../../model/listener.ts'
import { isSameForClients } from '../../model/tls.ts'
import type { TrackedConnection } from './connections.ts'
import { choose } from './filter-chain.ts'
import { isSamePort } from './ports.ts'
import { authorize, type Serving } from './serve.ts'

export type Verdict = 'unconcerned' | 'goes-on' | 'drained' | 'cut'

/** @param next the listener of that name now, which may have another port; undefined = it is gone */
export function revalidate(
  live: TrackedConnection,
  next: Listener | undefined,
  s: Pick<Serving, 'ctx' | 'metrics'>,
): Verdict {
  const { conn, facts } = live
  if (next === live.listener) return 'unconcerned'
  if (!next || !isSamePort(next, live.listener)) return end(live)
  // Its first bytes are looked at: the chain is chosen from the listener in force then.
  if (!conn || !facts) {
    live.listener = next
    return 'goes-on'
  }
  const chain = choose(next, facts)
  if (!chain || chain.codec.kind === 'blocked')
    return cut(
      live,
      new MeshError(
        'MESH_NO_FILTER_CHAIN',
        'the configuration changed and no filter chain takes this connection any more',
      ),
    )
  const was = conn.chain
  if (!isSameForClients(was.tls, chain.tls)) {
    // A handshake under other rules says nothing about these: without proof of identity that is now asked for it is
    // over at once.
    if (!conn.tls || (chain.tls?.requireClientCertificate && !conn.tls.peer))
      return cut(live, new MeshError('MESH_NO_FILTER_CHAIN', 'the configuration changed to another TLS mode'))
    return end(live)
  }
  live.listener = next
  conn.chain = chain
  try {
    authorize(conn, s)
  } catch (thrown) {
    return cut(live, toMeshError(thrown))
  }
  // Whoever was asked about it, was asked something else, or nobody was.
  if (chain.authz && JSON.stringify(chain.authz) !== JSON.stringify(was.authz))
    return cut(live, new MeshError('MESH_EXT_AUTHZ_DENIED', 'the configuration changed whom to ask about it'))
  if (!needsNewConnection(was, chain)) return 'goes-on'
  // What is under way ends as what it began as.
  if (was.codec.kind !== chain.codec.kind) conn.chain = was
  return end(live)
}

/**
 * HTTP reads its settings anew for each request, and MQTT's rules are asked anew (broker.reauthorize); the others were
 * told theirs when they began.
 */
function needsNewConnection(was: FilterChain, now: FilterChain): boolean {
  return was.codec.kind !== now.codec.kind || (now.codec.kind !== 'http' && !isSameCodec(was.codec, now.codec))
}

function isSameCodec(a: Codec, b: Codec): boolean {
  return a === b || JSON.stringify(lasting(a)) === JSON.stringify(lasting(b))
}
/** Without what is asked for each packet, or is not the connection's: bridges, the spool, `$SYS`. */
function lasting(codec: Codec): unknown {
  if (codec.kind !== 'mqtt') return codec
  const {
    rules: _,
    routes: _routes,
    bridges: _bridges,
    spool: _spool,
    sysIntervalSec: _interval,
    wideSubscriptions: _wide,
    aclFile: _acl,
    quotas: _quotas,
    listener: { topicPrefix, maxQos, retainAvailable },
    meshPolicies: _policies,
    ...mqtt
  } = codec.mqtt
  return { ...codec, mqtt, terms: { topicPrefix, maxQos, retainAvailable } }
}
function end(live: TrackedConnection): Verdict {
  if (live.serving) {
    live.drain()
    return 'drained'
  }
  return cut(live, new MeshError('MESH_DRAINING', 'the listener changed while the connection began'))
}
function cut(live: TrackedConnection, reason: MeshError): Verdict {
  live.abort(reason)
  return 'cut'
}
