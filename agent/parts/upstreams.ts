/** The way out, and what goes out by itself: spans and entries of logs to collectors, questions for keys to issuers. */
import type { Cluster } from '../../model/cluster.ts'
import type { Context } from '../../protocols/context.ts'
import type { HttpUpstreams } from '../../protocols/http/message.ts'
import { createPost } from '../../protocols/http/post.ts'
import type { RemoteKeys } from '../../protocols/jwks/remote-keys.ts'
import { readThroughCluster } from '../../protocols/jwks/through-cluster.ts'
import { createUpstreams } from '../../protocols/upstream/upstreams.ts'
import { selectResolve } from '../dns.ts'
import { createContext } from './context.ts'
import type { Foundation } from './foundation.ts'
import type { Stored } from './stored.ts'

export function openUpstreams(
  f: Foundation,
  stored: Stored,
): { readonly ctx: Context; readonly upstreams: HttpUpstreams; readonly remoteKeys: RemoteKeys } {
  const { config, scope, tables } = f
  const findCluster = (name: string): Cluster | undefined => tables.get().cluster(name)
  const { ctx, exporter, remoteKeys } = createContext(f, stored, (remote, arrival) =>
    readThroughCluster(remote, { ...f.world, upstreams, findCluster, arrival }),
  )
  const upstreams: HttpUpstreams = scope.own(createUpstreams(ctx, selectResolve(config, f.world.disk)))
  scope.own(tables.watch((next) => remoteKeys.apply(next.listeners.values())))
  remoteKeys.apply(tables.get().listeners.values())
  exporter.connect(createPost(upstreams, f.clock))
  return { ctx, upstreams, remoteKeys }
}
