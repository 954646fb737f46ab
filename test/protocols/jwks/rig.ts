/** Keys that are fetched for a listener, kept in memory. */
import type { Disk } from '../../../core/os/disk.ts'
import type { RemoteJwks } from '../../../model/http/jwt.ts'
import type { HttpConnectionManager, Listener } from '../../../model/listener.ts'
import type { Context } from '../../../protocols/context.ts'
import type { HttpUpstreams } from '../../../protocols/http/message.ts'
import type { Arrival } from '../../../protocols/jwks/arrivals.ts'
import { KeySets } from '../../../protocols/jwks/key-sets.ts'
import { RemoteKeys } from '../../../protocols/jwks/remote-keys.ts'
import { readThroughCluster } from '../../../protocols/jwks/through-cluster.ts'

/** Nobody else needs the memory. */
export const ALONE: Arrival = { signal: new AbortController().signal, set: () => undefined }

/** A disk that remembers small files. */
export function createMemoryDisk(files: Map<string, string> = new Map()): Disk {
  return {
    read: (file: string) => {
      const found = files.get(file)
      return found === undefined ? undefined : Buffer.from(found)
    },
    replace: (file: string, content: string) => void files.set(file, content),
    remove: (file: string) => void files.delete(file),
  } as unknown as Disk
}

/** @param upstreams are made after it */
export function openRemoteKeys(
  ctx: Context,
  upstreams: () => HttpUpstreams,
  files?: Map<string, string>,
): RemoteKeys & { serve(http: HttpConnectionManager): void } {
  const { files: _, ...parts } = ctx
  const sets = new KeySets({ ...parts, files: undefined, disk: createMemoryDisk(files), folder: '/state' })
  const fetch = (remote: RemoteJwks, arrival: Arrival): Promise<string> =>
    readThroughCluster(remote, {
      ...ctx,
      arrival,
      upstreams: upstreams(),
      findCluster: (name) => ctx.tables.get().cluster(name),
    })
  const keys = new RemoteKeys(sets, fetch)
  return Object.assign(keys, {
    serve: (http: HttpConnectionManager) =>
      keys.apply([{ filterChains: [{ codec: { kind: 'http', http } }] } as unknown as Listener]),
  })
}
