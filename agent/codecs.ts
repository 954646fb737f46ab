/** Which code serves which protocol. */
import type { Broker } from '../protocols/mqtt/broker.ts'
import type { Codecs } from '../protocols/codecs.ts'
import type { Context } from '../protocols/context.ts'
import { serveHttp1 } from '../protocols/http/server/h1-server.ts'
import { serveTcp } from '../protocols/tcp/proxy.ts'
import type { HttpUpstreams } from '../protocols/http/message.ts'

export function createCodecs(ctx: Context, upstreams: HttpUpstreams, broker: Broker): Codecs {
  return {
    http1: (conn) => serveHttp1(conn, ctx, upstreams),
    // Loaded at the first HTTP/2 connection: 0.4 MiB that a device without one does without.
    http2: async (conn) => (await import('../protocols/http/server/h2-server.ts')).serveHttp2(conn, ctx, upstreams),
    hbone: async (conn, host) => (await import('../protocols/http/server/hbone-server.ts')).serveHbone(conn, ctx, host),
    tcp: (conn, tcp) => serveTcp(conn, tcp, ctx, upstreams),
    askService: async (conn, settings) => {
      const { askAboutConnection } = await import('../protocols/http/filters/ext-authz/ask-about-connection.ts')
      return askAboutConnection(conn, settings, ctx, upstreams)
    },
    askCounter: async (conn, settings) => {
      const { countConnection } = await import('../protocols/http/filters/rate-limit/count-connection.ts')
      return countConnection(conn, settings, ctx, upstreams)
    },
    mqtt: (conn, mqtt, transport) => broker.serve(conn, mqtt, transport),
  }
}
