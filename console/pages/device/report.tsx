/** What a device says of itself. */
import type { DeviceDetail } from '../../../hub/console/schemas.ts'
import { formatCount, plural } from '../../format.ts'
import { Card, Pair, Short, When } from '../../parts/basics.tsx'

type Report = NonNullable<DeviceDetail['report']>

export function Reported({ report }: { readonly report: DeviceDetail['report'] }) {
  if (!report)
    return (
      <Card title="Report">
        <p class="muted">It has not reported: devices on the relay do (`control.address: wss://…`).</p>
      </Card>
    )
  return (
    <>
      <Wrong report={report} />
      <Card title="Report">
        <dl class="pairs">
          <Pair name="reported">
            <When ms={report.atMs} />
          </Pair>
          <Pair name="process">
            meshlet {report.version}, {report.state}, {plural(report.restarts, 'restart')} seen
            {!report.clockTrusted && <span class="bad">, its clock is wrong</span>}
          </Pair>
          <Pair name="was sent">{report.desired === '' ? '–' : <Short text={report.desired} chars={20} />}</Pair>
          <Pair name="link">
            {report.rttMs === null ? '–' : `${report.rttMs} ms`} there and back,{' '}
            {plural(report.connections, 'connection')}
          </Pair>
          {report.bytes.map(({ purpose, sent, received }) => (
            <Pair key={purpose} name={`bytes, ${purpose}`}>
              {formatCount(sent)} out, {formatCount(received)} in
            </Pair>
          ))}
          <Pair name="HTTP">
            {plural(report.requests, 'request')}, {formatCount(report.failures)} failed
          </Pair>
          <Pair name="MQTT">
            {plural(report.mqttClients, 'client')}, {formatCount(report.bridged)} messages wait for upstream brokers,{' '}
            {formatCount(report.drops)} dropped
          </Pair>
          <Pair name="spool">
            {plural(report.spoolMessages, 'message')}, {formatCount(report.spoolBytes)} of{' '}
            {formatCount(report.spoolMaxBytes)} bytes
          </Pair>
          {report.bridges.map(({ cluster, state, error }) => (
            <Pair key={cluster} name={`bridge ${cluster}`}>
              {state}
              {error !== '' && <span class="bad">; {error}</span>}
            </Pair>
          ))}
        </dl>
      </Card>
    </>
  )
}

function Wrong({ report: { problems, refused } }: { readonly report: Report }) {
  if (problems.length + refused.length === 0) return null
  return (
    <Card title="What it says is wrong">
      <ul class="list">
        {problems.map(({ code, text, remedy }) => (
          <li key={`${code} ${text}`}>
            <code>{code}</code> {text}
            {remedy !== '' && <p>{remedy}</p>}
          </li>
        ))}
        {refused.map(({ kind, name, reason }) => (
          <li key={`${kind} ${name}`}>
            It refuses {kind} <code>{name}</code>: {reason}
          </li>
        ))}
      </ul>
    </Card>
  )
}
