/** Services and MQTT queues of a device, as its report names them (report-columns.ts has how they travel). */

/** By name: what is worst, up to a bound (control.reportRows), and the sum of the rest. */
export type ReportDetails = { readonly services: ReportedServices; readonly queues: ReportedQueues }
export type ReportedServices = {
  readonly rows: readonly ReportedService[]
  /** Those without a row. */
  readonly more: number
}
/** A cluster. */
export type ReportedService = {
  readonly name: string
  readonly endpoints: number
  /** Endpoints that requests may go to. */
  readonly healthy: number
  /** Open to them at present. */
  readonly connections: number
}
/** `none`: it has no endpoints; `down`: it has, and none can be reached. */
export const SERVICE_STATES = ['down', 'partly down', 'connected', 'idle', 'none'] as const
export type ServiceState = (typeof SERVICE_STATES)[number]
export function nameServiceState({ endpoints, healthy, connections }: Omit<ReportedService, 'name'>): ServiceState {
  if (healthy < endpoints) return healthy === 0 ? 'down' : 'partly down'
  if (connections > 0) return 'connected'
  return endpoints === 0 ? 'none' : 'idle'
}
/** The worst first. */
export function compareServices(a: ReportedService, b: ReportedService): number {
  return rankService(a) - rankService(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
}
const rankService = (service: ReportedService): number => SERVICE_STATES.indexOf(nameServiceState(service))

export type ReportedQueues = {
  readonly rows: readonly ReportedQueue[]
  readonly more: { readonly queues: number } & QueueSums
}
export type QueueSums = {
  readonly messages: number
  readonly bytes: number
  /** Messages that it gave up since the start. */
  readonly drops: number
}
/** Of MQTT: what waits for an upstream broker, for a client, and what an upstream broker does not take. */
export const QUEUE_KINDS = ['bridge', 'session', 'aside'] as const
export type QueueKind = (typeof QUEUE_KINDS)[number]
/** Of its receiver; `unrouted`: no route names it any more. */
export const QUEUE_STATES = [
  'connected',
  'connecting',
  'waiting',
  'refused',
  'idle',
  'ended',
  'away',
  'unrouted',
] as const
export type QueueState = (typeof QUEUE_STATES)[number]
/** The deepest first. */
export function compareQueues(
  a: QueueSums & { readonly name: string },
  b: QueueSums & { readonly name: string },
): number {
  return b.messages - a.messages || b.drops - a.drops || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
}
export type ReportedQueue = QueueSums & {
  readonly kind: QueueKind
  /** The client id, or the cluster and the client id there. */
  readonly name: string
  readonly state: QueueState
  /** Since when it has been seen holding messages, as of the spool; undefined: it is empty. */
  readonly sinceMs: number | undefined
}
