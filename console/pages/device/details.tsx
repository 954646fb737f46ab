/** Services and MQTT queues of a device, as it reports them: the worst first. */
import type { DeviceDetail } from '../../../hub/console/schemas.ts'
import { formatBytes, formatCount, plural } from '../../format.ts'
import { Card, Pill, When } from '../../parts/basics.tsx'
import { Table, type Column } from '../../parts/table.tsx'

type Report = NonNullable<DeviceDetail['report']>
type Services = NonNullable<Report['services']>
type Queues = NonNullable<Report['queues']>

export function Details({ report }: { readonly report: DeviceDetail['report'] }) {
  if (!report?.services || !report.queues) return null
  return (
    <div class="stack">
      <ServicesCard services={report.services} />
      <QueuesCard queues={report.queues} />
    </div>
  )
}

const toNumber = (text: string): Column => ({ text, kind: 'number' })
const SERVICE_COLUMNS = ['Service', 'State', toNumber('Healthy'), toNumber('Connections')]
const SERVICE_TONES: Readonly<Record<Services['rows'][number]['state'], string>> = {
  down: 'bad',
  'partly down': 'warn',
  connected: 'ok',
  idle: 'quiet',
  none: 'quiet',
}
const SERVICE_WORDS: Partial<Record<Services['rows'][number]['state'], string>> = { none: 'no endpoints' }

function ServicesCard({ services: { rows, more } }: { readonly services: Services }) {
  return (
    <Card title="Services">
      {rows.length === 0 && <p class="muted">It has none.</p>}
      {rows.length > 0 && (
        <Table label="Services of this device" columns={SERVICE_COLUMNS}>
          {rows.map(({ name, state, endpoints, healthy, connections }, i) => (
            <tr key={`${i} ${name}`}>
              <td class="wide">{name}</td>
              <td>
                <Pill tone={SERVICE_TONES[state]}>{SERVICE_WORDS[state] ?? state}</Pill>
              </td>
              <td class="number">
                {formatCount(healthy)} of {formatCount(endpoints)}
              </td>
              <td class="number">{formatCount(connections)}</td>
            </tr>
          ))}
        </Table>
      )}
      {more > 0 && <p class="muted">Without a row: {plural(more, 'service')}.</p>}
    </Card>
  )
}

const QUEUE_COLUMNS = [
  'Queue',
  'For',
  'Receiver',
  toNumber('Messages'),
  toNumber('Size'),
  'Holds some since',
  toNumber('Dropped'),
]
const QUEUE_WORDS: Readonly<Record<Queues['rows'][number]['kind'], string>> = {
  bridge: 'upstream broker',
  session: 'client',
  aside: 'set aside',
}
const QUEUE_TONES: Partial<Record<Queues['rows'][number]['state'], string>> = {
  connected: 'ok',
  connecting: 'accent',
  waiting: 'warn',
  refused: 'bad',
  unrouted: 'bad',
}

function QueuesCard({ queues: { rows, more } }: { readonly queues: Queues }) {
  return (
    <Card title="MQTT queues">
      {rows.length === 0 && <p class="muted">Nothing waits for anybody.</p>}
      {rows.length > 0 && (
        <Table label="MQTT queues of this device" columns={QUEUE_COLUMNS}>
          {rows.map((queue, i) => (
            <tr key={`${i} ${queue.kind} ${queue.name}`}>
              <td class="wide">{queue.name}</td>
              <td>{QUEUE_WORDS[queue.kind]}</td>
              <td>
                <Pill tone={QUEUE_TONES[queue.state] ?? 'quiet'}>{queue.state}</Pill>
              </td>
              <td class="number">{formatCount(queue.messages)}</td>
              <td class="number">{formatBytes(queue.bytes)}</td>
              <td>
                <When ms={queue.sinceMs} />
              </td>
              <td class="number">{formatCount(queue.drops)}</td>
            </tr>
          ))}
        </Table>
      )}
      {more.queues > 0 && (
        <p class="muted">
          Without a row: {plural(more.queues, 'queue')}, none of them deeper, with {plural(more.messages, 'message')} of{' '}
          {formatBytes(more.bytes)}, {formatCount(more.drops)} dropped.
        </p>
      )}
    </Card>
  )
}
