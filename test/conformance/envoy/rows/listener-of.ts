/** A listener with one virtual host, for Envoy and, decoded, for meshlet. */
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'
import { listenerWith } from '../listener-with.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
export type ListenerRow = {
  readonly name: string
  readonly listener?: JsonObject
  readonly filters?: readonly JsonObject[]
  readonly table?: JsonObject
  readonly host?: JsonObject
  readonly route?: JsonObject
}

const RBAC: JsonObject = {
  name: 'envoy.filters.http.rbac',
  typed_config: { '@type': type('extensions.filters.http.rbac.v3.RBAC') },
}
const ROUTER: JsonObject = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
}

/** @param more for Envoy only: how long it lingers is not asked here */
export function listenerOf(row: ListenerRow, port: number, more: JsonObject = {}): JsonObject {
  return listenerWith(
    { name: row.name, port },
    {
      normalize_path: true,
      merge_slashes: true,
      ...row.listener,
      ...more,
      http_filters: [...(row.filters ?? [RBAC]), ROUTER],
      route_config: {
        name: 'r',
        virtual_hosts: [
          {
            name: row.name,
            domains: [row.name],
            routes: [{ match: { prefix: '/' }, ...(row.route ?? { route: { cluster: 'origin' } }) }],
            ...row.host,
          },
        ],
        ...row.table,
      },
    },
  )
}

export function managerOf(row: ListenerRow): HttpConnectionManager {
  const decoded = decode('listener', sample(listenerOf(row, 80)).bytes)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  assert.deepEqual(decoded.ignored, [], row.name)
  const { codec } = decoded.value.filterChains[0]!
  assert.ok(codec.kind === 'http')
  return codec.http
}
