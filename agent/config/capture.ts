/**
 * Finds why redirected connections cannot be served. A connection that a rule of nftables or iptables sends to 15001 or 15006 has
 * its destination in SO_ORIGINAL_DST (REDIRECT), which Node cannot read, or as its local address (TPROXY), for which
 * the listening socket needs IP_TRANSPARENT. Node cannot set that either, but systemd can, and passes the socket
 * (core/os/inherited-sockets.ts). The mode is told to istiod in any case, which sends what a captured sidecar gets.
 */
import { MeshError } from '../../core/errors.ts'
import type { InheritedSockets } from '../../core/os/inherited-sockets.ts'
import type { Address } from '../../core/os/network.ts'
import type { Listener } from '../../model/listener.ts'
import { toListenAddress } from './schema/listeners.ts'
import type { AgentConfig } from './schema.ts'

/** istiod's, unless its mesh configuration has others (proxyListenPort, proxyInboundListenPort). */
const USUAL: readonly Address[] = [15_001, 15_006].map((port) => ({ host: '0.0.0.0', port }))

/**
 * MESH_CAPTURE_UNAVAILABLE, for status and the log; undefined where nothing is captured, or all of it can be served.
 * Whether a socket that was passed is transparent is not visible from here; `ss --inet-sockopt` shows it.
 */
export function findCaptureProblem(
  { capture }: Pick<AgentConfig, 'capture'>,
  passed: Pick<InheritedSockets, 'has'> | undefined,
  listeners: Iterable<Listener> = [],
): MeshError | undefined {
  switch (capture) {
    case 'explicit':
      return undefined
    case 'redirect':
      return unavailable(
        capture,
        'the destination of a redirected connection cannot be learnt, so that all of them are refused',
      )
    case 'transparent': {
      const pushed = [...listeners]
        .filter((l) => l.transparent && l.bindToPort)
        .map((l) => ({ host: toListenAddress(l).address, port: toListenAddress(l).port }))
      const missing = (pushed.length > 0 ? pushed : USUAL)
        .filter((at) => !passed?.has(at))
        .map((at) => `${at.host}:${at.port}`)
      return missing.length === 0
        ? undefined
        : unavailable(
            capture,
            `no socket was passed for ${missing.join(' and ')}: to a port that meshlet opens itself the kernel delivers no redirected connection`,
          )
    }
    default:
      return capture satisfies never
  }
}

/**
 * Whether it is one of meshlet-capture.socket, which opens both: a mesh that captures one direction only, or none for a while, leaves
 * the other unused on purpose.
 */
export function isCaptureSocket(at: Address): boolean {
  return USUAL.some((usual) => usual.port === at.port)
}

function unavailable(capture: string, why: string): MeshError {
  return new MeshError('MESH_CAPTURE_UNAVAILABLE', `capture: ${capture} is told to the control plane, but ${why}`)
}
