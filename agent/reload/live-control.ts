/**
 * Another control plane, as a changed agent.yaml names it: another revision's istiod, other roots, another token. The
 * configuration in force serves on until the new one has said something else, and the certificate stays.
 */
import { isHubAddress } from '../../control-sync/fleet/hub-address.ts'
import { doNothing } from '../../core/defects/guard.ts'
import type { Disk } from '../../core/os/disk.ts'
import type { AgentConfig } from '../config/schema.ts'
import type { Configuration } from '../configuration/configuration.ts'
import { readControlPlane } from '../control-sync-settings.ts'
import type { OwnNode } from '../own-node.ts'
import type { LiveSettings, PreparedSettings } from './reloader.ts'

/** By which Istio's tools tell the revisions of proxies apart; istiod is told, and does nothing with it. */
const REVISION_LABEL = 'istio.io/rev'
const WAY = ['address', 'serverName', 'roots', 'token'] as const
/** Whose certificates there are, and what is spoken on the way. A file that changes these as well is one move. */
const SPOKEN = ['hub', 'protocol', 'compression', 'trustBundle'] as const

type Parts = {
  /** As everybody has it: what is live is changed in place. */
  readonly config: AgentConfig
  readonly disk: Disk
  readonly node: Pick<OwnNode, 'use'>
  readonly configuration: Pick<Configuration, 'reconnect'>
}

export function createLiveControl(p: Parts): LiveSettings {
  return {
    settings: [...WAY.map((name) => `control.${name}`), `node.labels.${REVISION_LABEL}`, 'node.metadata.PROXY_CONFIG'],
    prepare: async (next) => prepareMove(next, p),
  }
}

/** @throws MESH_CONFIG_INVALID for roots that are named anew and cannot be used */
function prepareMove(next: AgentConfig, { config, disk, node, configuration }: Parts): PreparedSettings {
  const told = readTold(next)
  const isTold = !isEqual(told, readTold(config))
  const [before, after] = [config.control, next.control]
  const differs = (names: readonly (keyof NonNullable<AgentConfig['control']>)[]): boolean =>
    names.some((name) => !isEqual(before?.[name], after?.[name]))
  const isMoved = before && after && differs(WAY)
  const isOtherKind = isMoved && (isOfHub(before) !== isOfHub(after) || differs(SPOKEN))
  if (isMoved && !isOtherKind) readControlPlane(after, next.node.clusterId, disk).roots()
  return {
    left: isOtherKind ? WAY.map((name) => `control.${name}`) : [],
    commit() {
      const moves = isMoved && !isOtherKind
      if (moves) for (const name of WAY) Object.assign(before, { [name]: after[name] })
      if (isTold) Object.assign(config.node, mergeTold(config, next))
      if (!moves && !isTold) return
      const { labels, metadata } = config.node
      node.use({ labels, metadata, discoveryAddress: config.control?.address[0] ?? '' })
      if (moves) configuration.reconnect()
    },
    [Symbol.dispose]: doNothing,
  }
}

const isOfHub = ({ address }: { readonly address: readonly string[] }): boolean => address.every(isHubAddress)
const isEqual = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

const readTold = ({ node }: AgentConfig): readonly unknown[] => [
  node.labels[REVISION_LABEL],
  node.metadata['PROXY_CONFIG'],
]

/** What is taken of the new node; everything else is what it is known by, and stays. */
function mergeTold(
  { node }: AgentConfig,
  { node: next }: AgentConfig,
): Pick<AgentConfig['node'], 'labels' | 'metadata'> {
  return {
    labels: withEntry(node.labels, REVISION_LABEL, next.labels[REVISION_LABEL]),
    metadata: withEntry(node.metadata, 'PROXY_CONFIG', next.metadata['PROXY_CONFIG']),
  }
}

function withEntry<T>(all: Readonly<Record<string, T>>, key: string, value: T | undefined): Record<string, T> {
  const { [key]: _, ...others } = all
  return value === undefined ? (others as Record<string, T>) : { ...(others as Record<string, T>), [key]: value }
}
