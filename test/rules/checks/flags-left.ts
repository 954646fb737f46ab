/** Files that give literal booleans by position, or take several. The list only gets shorter. */
export const STILL_POSITIONAL: readonly string[] = [
  // agent/
  'agent/workload-health/grpc.ts',
  // protocols/http/
  'protocols/http/codec/h1-parser.ts',
  'protocols/http/codec/hpack/decoder.ts',
  'protocols/http/h2/drain.ts',
  'protocols/http/h2/events.ts',
  'protocols/http/h2/messages.ts',
  'protocols/http/h2/session.ts',
  'protocols/http/h2/stream/check-message.ts',
  'protocols/http/h2/stream/stream.ts',
  'protocols/http/server/h1-server.ts',
  'protocols/http/server/h2-exchange.ts',
  'protocols/http/server/h2-server.ts',
  // protocols/mqtt/
  'protocols/mqtt/connection/inflow.ts',
  'protocols/mqtt/session/subscribe.ts',
  'protocols/mqtt/topics/topic-tree.ts',
  // protocols/upstream/
  'protocols/upstream/cluster-runtime.ts',
  'protocols/upstream/h1-client.ts',
  'protocols/upstream/h2-call.ts',
  'protocols/upstream/pool.ts',
]
