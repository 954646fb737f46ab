/** What happens while connections are under way. */
import type { Duplex } from 'node:stream'
import type { Cluster } from '../../../../model/cluster.ts'
import { parseCidr } from '../../../../model/ip.ts'
import type { FilterChain } from '../../../../model/listener.ts'
import type { Policy } from '../../../../model/policy.ts'
import { MUTUAL } from '../../mutual-tls.ts'
import type { SocketRig } from '../socket-rig.ts'
import { SNIFFING } from './clients.ts'

const denyAll: Policy = {
  action: 'deny',
  shadow: undefined,
  rules: [
    {
      name: 'nobody',
      permissions: [{ kind: 'any' }],
      principals: [{ kind: 'direct-remote-ip', range: parseCidr('0.0.0.0', 0)! }],
    },
  ],
}

type Case = {
  readonly rig: SocketRig
  readonly clients: readonly Duplex[]
  readonly chain: Partial<FilterChain> & Pick<FilterChain, 'codec'>
  readonly clusters: readonly Cluster[]
}
export const EVENTS: Readonly<Record<string, (c: Case) => void | Promise<unknown>>> = {
  nothing: () => {},
  'the clients end': ({ clients }) => {
    for (const s of clients) s.end()
  },
  'the clients reset': ({ clients }) => {
    for (const s of clients) s.destroy()
  },
  'the listener goes': ({ rig }) => {
    rig.tables.swap({ ...rig.tables.get(), listeners: new Map() })
  },
  'the listener denies': ({ rig, chain, clusters }) => {
    rig.use({ ...chain, policies: [denyAll] }, { clusters, listener: SNIFFING })
  },
  'the listener asks for TLS': ({ rig, chain, clusters }) => {
    rig.use({ ...chain, tls: { ...MUTUAL, alpnProtocols: ['x'] } }, { clusters, listener: SNIFFING })
  },
  'the cluster is replaced': ({ rig, chain, clusters }) => {
    rig.use(chain, { clusters: clusters.map((c) => ({ ...c })), listener: SNIFFING })
  },
  'the cluster goes': ({ rig, chain }) => {
    rig.use(chain, { clusters: [], listener: SNIFFING })
  },
  'the agent drains': ({ rig }) => rig.path.drain(),
  'the agent stops': async ({ rig }) => {
    await rig.path[Symbol.asyncDispose]()
    await rig.upstreams[Symbol.asyncDispose]()
  },
}
