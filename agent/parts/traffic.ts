/** What carries traffic: endpoints, the MQTT broker and its bridge, the ports, DNS. */
import { detach } from '../../core/defects/guard.ts'
import type { DnsProxy } from '../../protocols/dns/proxy.ts'
import { DataPath } from '../../protocols/downstream/data-path.ts'
import { createBridge, type Bridge } from '../../protocols/mqtt/bridge/bridge.ts'
import { createBroker, type Broker } from '../../protocols/mqtt/broker.ts'
import { AclFiles } from '../../protocols/mqtt/authorization/acl-files.ts'
import type { RemoteKeys } from '../../protocols/jwks/remote-keys.ts'
import type { HttpUpstreams } from '../../protocols/http/message.ts'
import { collectProxyingOptions } from '../../protocols/mqtt/transparent/proxying.ts'
import { startAgentDns } from '../dns.ts'
import { createCodecs } from '../codecs.ts'
import { listOtherPorts } from '../config/ports.ts'
import { collectAclFiles, collectBridgePolicy, collectMqttPolicies } from '../mqtt-policies.ts'
import { describeBroker } from '../mqtt-sys-topics.ts'
import { openBridgeCredentials, readProxyCredentials } from '../mqtt-users.ts'
import { createLiveDataPath } from '../reload/live-data-path.ts'
import type { Foundation } from './foundation.ts'
import type { Stored } from './stored.ts'
import { openUpstreams } from './upstreams.ts'

export type Traffic = {
  readonly upstreams: HttpUpstreams
  readonly remoteKeys: RemoteKeys
  readonly broker: Broker
  readonly acls: AclFiles
  readonly bridge: Bridge
  readonly dataPath: DataPath
  readonly dns: DnsProxy | undefined
}

/** Resolves when each port is open, or will be tried again. */
export async function openTraffic(f: Foundation, stored: Stored): Promise<Traffic> {
  const { config, facts, scope, tables } = f
  const { configuration, own, spool } = stored
  const node = config.node.name ?? facts.hostName
  const { ctx, upstreams, remoteKeys } = openUpstreams(f, stored)
  const { disk, clock } = f.world
  const acls = scope.own(new AclFiles({ disk, clock, log: f.log, onChange: () => broker.reauthorize() }))
  await acls.use(collectAclFiles(own))
  const broker: Broker = scope.own(
    createBroker({
      ctx,
      acls,
      budget: f.budget,
      durability: spool,
      ...describeBroker(config, facts),
      node,
      users: stored.users,
      proxying: collectProxyingOptions(ctx, upstreams),
      policiesOf: (listener) => collectMqttPolicies(tables.get(), own, listener),
    }),
  )
  const bridge = scope.own(
    createBridge({
      ctx,
      broker,
      durability: spool,
      budget: f.budget,
      upstreams,
      node,
      readCredentials: openBridgeCredentials(f, node),
      readFile: (file) => readProxyCredentials(f.world, file),
      readEnvironmentProxy: f.findProxy,
      drawFirstWaitMs: () => f.bootSpread.drawWaitMs(),
    }),
  )
  const dataPath = scope.own(
    new DataPath(ctx, own, createCodecs(ctx, upstreams, broker), {
      reserved: listOtherPorts(config),
      addresses: () => (f.node.address === undefined ? [] : [f.node.address]),
    }),
  )
  // After the data path's own watcher: connections have new rules by then. They may have changed since the last run.
  scope.own(tables.watch(() => broker.reauthorize()))
  broker.reauthorize()
  await dataPath.open()
  const dns = await startAgentDns({ config, ctx, disk: f.world.disk, node: f.node, configuration })
  if (dns) scope.own(dns)
  scope.own(
    tables.watch((next) => {
      detach('bridge', bridge.apply(collectBridgePolicy(config.mqtt, next)))
    }),
  )
  await bridge.apply(collectBridgePolicy(config.mqtt, tables.get()))
  f.reloader.takeLive(createLiveDataPath({ ...f, ...stored, acls, disk }))
  return { upstreams, remoteKeys, broker, acls, bridge, dataPath, dns }
}
