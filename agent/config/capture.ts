/**
 * What stands against the capture modes. An application's connection that a rule of iptables or nftables sent to 15001 or 15006 has its destination in
 * SO_ORIGINAL_DST (REDIRECT), or needs a listening socket with IP_TRANSPARENT (TPROXY), and Node has neither: REDIRECT ends in istiod's black-hole
 * chains, and with TPROXY the kernel delivers nothing. The mode is told to istiod all the same, which sends what a captured sidecar gets.
 */
import { MeshError } from '../core/errors.ts'
import type { AgentConfig } from './schema.ts'

const WHY = {
  redirect: 'the destination of a redirected connection cannot be learnt, so that all of them are refused',
  transparent: 'the ports are opened without IP_TRANSPARENT, so that the kernel delivers no redirected connection',
} as const

/** MESH_CAPTURE_UNAVAILABLE, for status, the log and config check; undefined where nothing is captured. */
export function captureProblem({ capture }: Pick<AgentConfig, 'capture'>): MeshError | undefined {
  return capture === 'explicit' ? undefined : new MeshError('MESH_CAPTURE_UNAVAILABLE', `capture: ${capture} is told to the control plane, but ${WHY[capture]}`)
}
