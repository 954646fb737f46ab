/**
 * A proxyless gRPC client: what bench -- sync measures as grpc-js-xds. It dials as many `xds:///` targets as the last
 * line of standard input says and prints how many of them have their endpoints, and how often endpoints changed.
 * GRPC_XDS_BOOTSTRAP names the bootstrap file. Arguments: the folder that holds the packages, the port of the first
 * service (each next one has the next port).
 *
 * What is replaced is the last policy of the chain that a channel makes from LDS, RDS, CDS and EDS: round_robin would
 * open a connection to each endpoint, which none of the other subjects does for a service that nobody calls. The one
 * here takes the endpoints and connects nowhere.
 */
import { createRequire } from 'node:module'
import path from 'node:path'
import readline from 'node:readline'
import type * as Grpc from '@grpc/grpc-js'

const packages = createRequire(path.join(process.argv[2]!, 'package.json'))
const grpc = packages('@grpc/grpc-js') as typeof Grpc
const { registerLoadBalancerType, QueuePicker } = grpc.experimental
;(packages('@grpc/grpc-js-xds') as { register(): void }).register()

type Taken = { endpoints: string }
const taken = new Set<Taken>()
let changes = 0

class Nowhere {
  readonly #helper: Grpc.experimental.ChannelControlHelper
  readonly #own: Taken = { endpoints: '' }
  constructor(helper: Grpc.experimental.ChannelControlHelper) {
    this.#helper = helper
  }
  updateAddressList(list: Grpc.experimental.StatusOr<Grpc.experimental.Endpoint[]>): boolean {
    if (!list.ok) return false
    const endpoints = JSON.stringify(list.value.map((e) => e.addresses))
    if (endpoints !== this.#own.endpoints && this.#own.endpoints !== '') changes++
    this.#own.endpoints = endpoints
    if (list.value.length > 0) taken.add(this.#own)
    else taken.delete(this.#own)
    setImmediate(dial)
    this.#helper.updateState(grpc.connectivityState.CONNECTING, new QueuePicker(this), null)
    return true
  }
  exitIdle(): void {
    /* nothing to connect to */
  }
  resetBackoff(): void {
    /* nothing waits */
  }
  destroy(): void {
    taken.delete(this.#own)
  }
  getTypeName(): string {
    return 'round_robin'
  }
}
class NowhereConfig {
  getLoadBalancerName(): string {
    return 'round_robin'
  }
  toJsonObject(): object {
    return { round_robin: {} }
  }
  static createFromJson(): NowhereConfig {
    return new NowhereConfig()
  }
}
registerLoadBalancerType('round_robin', Nowhere, NowhereConfig)

const firstPort = Number(process.argv[3])
const channels: Grpc.Channel[] = []
let [next, last] = [0, 0]
/**
 * The first alone and then all: requests before the first answer carry no nonce, and istiod answers each of them with
 * all names so far.
 */
function dial(): void {
  if (next === 1 && taken.size === 0) return
  for (const end = next === 0 ? Math.min(1, last) : last; next < end; next++) {
    const channel = new grpc.Channel(
      `xds:///svc-${next}.shop.svc.cluster.local:${firstPort + next}`,
      grpc.credentials.createInsecure(),
      {},
    )
    channel.getConnectivityState(true)
    channels.push(channel)
  }
}
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  last = Number(line)
  dial()
})
let said = ''
setInterval(() => {
  const now = `${taken.size} ${changes}\n`
  if (now !== said) process.stdout.write(now)
  said = now
}, 50)
