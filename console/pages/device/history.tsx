/** How a device's link and load were, as its reports told. */
import { useMemo, useState } from 'preact/hooks'
import type { DeviceHistory } from '../../../hub/console/schemas.ts'
import { ofReports, useData } from '../../data.ts'
import { plural } from '../../format.ts'
import { Card, Loading, ProblemNote } from '../../parts/basics.tsx'
import { Chart } from '../../parts/chart.tsx'
import { toDevice } from '../../router.ts'

const KB = 1_000

export function History({ name }: { readonly name: string }) {
  const [step, setStep] = useState('minute')
  const concerns = useMemo(() => ofReports(name), [name])
  const { value, problem, reload } = useData<DeviceHistory>(`${toDevice(name)}/history?step=${step}`, concerns)
  return (
    <Card title="Link and load">
      <label class="line">
        <span class="muted">Time</span>
        <select value={step} onChange={({ currentTarget }) => setStep(currentTarget.value)}>
          <option value="minute">last day</option>
          <option value="hour">last 90 days</option>
        </select>
      </label>
      {problem && <ProblemNote problem={problem} retry={reload} />}
      {!value && !problem && <Loading />}
      {value?.points.length === 0 && <p class="muted">It has reported nothing in this time.</p>}
      {value && value.points.length > 0 && <Charts points={value.points} />}
    </Card>
  )
}

function Charts({ points }: DeviceHistory) {
  const p = useMemo(() => {
    const connects = points.reduce((sum, one) => sum + one.connects, 0)
    const of = (label: string, read: (one: DeviceHistory['points'][number]) => number | null) => [
      { label, values: points.map(read) },
    ]
    return {
      connects,
      times: points.map(({ atMs }) => atMs),
      rtt: of('round trip', ({ rttMs }) => rttMs),
      bytes: of('bytes', ({ bytes }) => bytes / KB),
      spool: of('spool', ({ spool }) => spool),
    }
  }, [points])
  const rtts = points.flatMap(({ rttMs }) => rttMs ?? [])
  return (
    <>
      <p>It has connected {plural(p.connects, 'time')}.</p>
      <Chart
        title="Round trip to the hub"
        unit="ms"
        summary={rtts.length === 0 ? 'Never measured.' : `Between ${Math.min(...rtts)} and ${Math.max(...rtts)} ms.`}
        times={p.times}
        series={p.rtt}
      />
      <Chart
        title="To and from the hub"
        unit="kB"
        summary={`${plural(
          points.reduce((sum, { bytes }) => sum + bytes, 0),
          'byte',
        )} in all.`}
        times={p.times}
        series={p.bytes}
      />
      <Chart
        title="Messages in its spool"
        unit=""
        summary={`At most ${points.reduce((most, { spool }) => Math.max(most, spool), 0)}.`}
        times={p.times}
        series={p.spool}
      />
    </>
  )
}
