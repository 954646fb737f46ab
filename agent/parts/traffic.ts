/** What carries traffic: endpoints, the MQTT broker and its bridge, the ports, DNS. */
import v8 from 'node:v8'
import { detach } from '../../core/defects/guard.ts'
import type { Context } from '../../protocols/context.ts'
import type { DnsProxy } from '../../protocols/dns/proxy.ts'
import { DataPath } from '../../protocols/downstream/data-path.ts'
import { createBridge, type Bridge } from '../../protocols/mqtt/bridge/bridge.ts'
import { createBroker, type Broker } from '../../protocols/mqtt/broker.ts'
import { AclFiles } from '../../protocols/mqtt/authorization/acl-files.ts'
import { createUpstreams } from '../../protocols/upstream/upstreams.ts'
import { collectProxyingOptions } from '../../protocols/mqtt/transparent/proxying.ts'
import { createCodecs } from '../codecs.ts'
import { listOtherPorts } from '../config/ports.ts'
import { startAgentDns } from '../dns.ts'
import { collectAclFiles, collectBridgePolicy, collectMqttPolicies } from '../mqtt-policies.ts'
import { openBridgeCredentials, readProxyCredentials } from '../mqtt-users.ts'
import { createLiveDataPath } from '../reload/live-data-path.ts'
import type { Foundation } from './foundation.ts'
import { createAccessLogOutput } from './files.ts'
import { createTokenTime } from './token-time.ts'
import type { Stored } from './stored.ts'
import { readTelemetrySettings } from './telemetry.ts'

export type Traffic = {
  readonly upstreams: ReturnType<typeof createUpstreams>
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
  const ctx = contextOf(f, stored)
  const node = config.node.name ?? facts.hostName
  const upstreams = scope.own(createUpstreams(ctx))
  const { disk, clock } = f.world
  const acls = scope.own(new AclFiles({ disk, clock, log: f.log, onChange: () => broker.reauthorize() }))
  await acls.use(collectAclFiles(own))
  const broker: Broker = scope.own(
    createBroker({
      ctx,
      acls,
      budget: f.budget,
      durability: spool,
      sys: {
        intervalSec: config.mqtt.sysIntervalSec,
        version: facts.version,
        heapBytes: () => v8.getHeapStatistics().used_heap_size,
      },
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
      upstreams,
      node,
      readCredentials: openBridgeCredentials(f, node),
      readFile: (file) => readProxyCredentials(f.world, file),
      readEnvironmentProxy: f.findProxy,
      drawFirstWaitMs: () => f.bootSpread.drawWaitMs(),
    }),
  )
  const dataPath = scope.own(new DataPath(ctx, own, createCodecs(ctx, upstreams, broker), listOtherPorts(config)))
  // After the data path's own watcher: connections have the new rules by then. Rules may have changed since the last
  // run, too.
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
  return { upstreams, broker, acls, bridge, dataPath, dns }
}

function contextOf(f: Foundation, { identity, configuration }: Stored): Context {
  const { clock, random, network } = f.world
  const { log, metrics, tables, limits, budget, files } = f
  const isLinkDown = (): boolean => !['connected', 'watching'].includes(configuration.link().state)
  const [telemetry, tokenTime] = [readTelemetrySettings(f), createTokenTime(identity, clock)]
  const parts = { clock, random, network, log, metrics, tables, identity, limits, budget, files }
  const retriesUnsafe = f.config.retryUnsafe
  return { ...parts, telemetry, accessLogs: createAccessLogOutput(f), isLinkDown, tokenTime, retriesUnsafe }
}
