/** Services and MQTT queues, as `meshlet-hub device show` prints them: a line each. */
import {
  compareQueues,
  compareServices,
  nameServiceState,
  type ReportDetails,
  type ReportedQueue,
  type ReportedService,
} from '../../../model/fleet/report-details.ts'
import { formatDate } from '../table.ts'

type Line = readonly [name: string, value: string]

export function describeDetails(details: ReportDetails | undefined): Line[] {
  if (!details) return []
  const { services, queues } = details
  const { more } = queues
  return [
    ...services.rows.toSorted(compareServices).map((s): Line => ['service', describeService(s)]),
    ...(services.more > 0 ? [['', `${services.more} more services`] as const] : []),
    ...queues.rows.toSorted(compareQueues).map((q): Line => ['queue', describeQueue(q)]),
    ...(more.queues > 0 ? [['', `${more.queues} more queues: ${describeSums(more)}`] as const] : []),
  ]
}

function describeService(service: ReportedService): string {
  const { name, endpoints, healthy, connections } = service
  return `${name}: ${nameServiceState(service)}, ${healthy} of ${endpoints} endpoints healthy, ${connections} connections`
}
function describeQueue(queue: ReportedQueue): string {
  const since = queue.sinceMs === undefined ? '' : `, holds some since ${formatDate(queue.sinceMs)}`
  return `${queue.kind} ${queue.name}: ${queue.state}, ${describeSums(queue)}${since}`
}
const describeSums = ({ messages, bytes, drops }: Pick<ReportedQueue, 'messages' | 'bytes' | 'drops'>): string =>
  `${messages} messages, ${bytes} bytes, ${drops} dropped`
