/** What a report names of this device: services and MQTT queues, as many as control.reportRows says. */
import type { ReportDetails } from '../../model/fleet/report-details.ts'
import type { StatusParts } from '../admin/status-parts.ts'
import { createQueueCollector } from './report-queues.ts'
import { createServiceCollector } from './report-services.ts'

export type DetailsParts = Pick<
  StatusParts,
  'config' | 'metrics' | 'clock' | 'upstreams' | 'tables' | 'spool' | 'broker' | 'bridge'
>

/** The result collects them as they are at the moment; undefined: the device is to name none. */
export function createDetailsCollector(p: DetailsParts): () => ReportDetails | undefined {
  const most = p.config.control?.reportRows ?? 0
  if (most === 0) return () => undefined
  const left = p.metrics
    .gauge('mesh_control_report_left_out', 'Services and MQTT queues that the last report did not name.', ['what'])
    .cells(['services', 'queues'])
  const collectQueues = createQueueCollector(p, most)
  const collectServices = createServiceCollector(p, most)
  return () => {
    const [services, queues] = [collectServices(), collectQueues()]
    left.services.value = services.more
    left.queues.value = queues.more.queues
    return { services, queues }
  }
}
