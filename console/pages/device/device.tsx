import { useMemo } from 'preact/hooks'
import type { DeviceDetail } from '../../../hub/console/schemas.ts'
import { ofDevice, useData } from '../../data.ts'
import { formatWhen, plural } from '../../format.ts'
import { Card, Labels, Link, Loading, Pair, ProblemNote, Short, StatePill, When } from '../../parts/basics.tsx'
import { Chart } from '../../parts/chart.tsx'
import { decideAbout } from '../../parts/decide.ts'
import { useQuestion, type Question } from '../../parts/dialog.tsx'
import { Asking } from './asking.tsx'
import { Configuration } from './configuration.tsx'
import { Details } from './details.tsx'
import { History } from './history.tsx'
import { Reported } from './report.tsx'

export function Device({ name }: { readonly name: string }) {
  const concerns = useMemo(() => ofDevice(name), [name])
  const { value, problem, reload } = useData<DeviceDetail>(`/devices/${encodeURIComponent(name)}`, concerns)
  const question = useQuestion()
  if (!value) return problem ? <ProblemNote problem={problem} retry={reload} /> : <Loading />
  const { device } = value
  return (
    <>
      <p class="line">
        <StatePill state={device.state} /> <Labels labels={device.labels} />
        <span class="muted">
          {device.state === 'connected' ? 'since' : 'last seen'} <When ms={device.sinceMs} />
          {device.address !== '' && `, from ${device.address}`}
        </span>
      </p>
      <Problems detail={value} />
      <Decisions detail={value} reload={reload} ask={question.ask} />
      <div class="columns">
        <div class="stack">
          <Identity detail={value} />
          <Configuration name={name} mayRead={value.may.operate} refused={device.refused} />
          <Reported report={value.report} />
          {value.may.operate && <Asking name={name} isConnected={device.state === 'connected'} />}
        </div>
        <div class="stack">
          <Certificates detail={value} />
          <History name={name} />
          <Card title="History">
            <p>
              <Link href={`/audit?subject=${encodeURIComponent(name)}`}>What was decided about it, and by whom</Link>
            </p>
          </Card>
        </div>
      </div>
      <Details report={value.report} />
      {question.dialog}
    </>
  )
}

function Problems({ detail: { device, cloneAddresses, waits } }: { readonly detail: DeviceDetail }) {
  if (device.wrong.length === 0 && !waits) return null
  return (
    <div class="note warn" role="group" aria-label="Problems">
      {device.wrong.map((text) => (
        <p key={text}>{text}</p>
      ))}
      {cloneAddresses !== null && <p>Its copies came from {cloneAddresses}.</p>}
      {waits && (
        <p>
          The key <Short text={waits.keyId} /> waits under this name since <When ms={waits.askedMs} />, from{' '}
          {waits.address}: {waits.why}.
        </p>
      )}
    </div>
  )
}

type DecideProps = { readonly detail: DeviceDetail; readonly reload: () => void; readonly ask: (q: Question) => void }
type Choice = Omit<Question, 'act'> & { readonly button: string; readonly verb: string; readonly body?: object }

function Decisions({ detail, reload, ask }: DecideProps) {
  if (!detail.may.operate) return null
  const { name } = detail.device
  const decide = decideAbout(name, reload)
  return (
    <div class="actions" role="group" aria-label="Decisions">
      {listChoices(detail).map((choice) => (
        <button
          type="button"
          key={choice.button}
          class={choice.verb === 'revoke' ? 'danger' : choice.button === 'Approve' ? 'primary' : ''}
          onClick={() => ask({ ...choice, act: decide(choice.verb, choice.body) })}
        >
          {choice.button}
        </button>
      ))}
    </div>
  )
}

function listChoices({ device, waits, keyId, may }: DeviceDetail): readonly Choice[] {
  const { name, state, cloned } = device
  const isKeptOut = state === 'suspended' || state === 'revoked' || cloned
  return [
    ...(waits ? chooseAboutWaiting(name, waits) : []),
    ...(isKeptOut && keyId !== null ? [letInAgain(name, keyId)] : []),
    ...(state === 'revoked' || state === 'pending' ? [] : [revoke(name)]),
    ...(may.administer && state !== 'pending' ? [forget(name)] : []),
  ]
}

const chooseAboutWaiting = (name: string, waits: NonNullable<DeviceDetail['waits']>): readonly Choice[] => [
  {
    button: 'Approve',
    verb: 'approve',
    body: { keyId: waits.keyId },
    title: `Let ${waits.keyId.slice(0, 12)} in as ${name}?`,
    text: `It waits from ${waits.address}: ${waits.why}. Whoever had the name before has it no more.`,
    yes: 'Approve',
    said: `${name} is approved.`,
  },
  {
    button: 'Deny',
    verb: 'deny',
    title: `Not let ${waits.keyId.slice(0, 12)} in?`,
    text: `It does not become ${name}; the token that it came with is as good as before.`,
    yes: 'Deny',
    said: `Who waited as ${name} is denied.`,
  },
]
const letInAgain = (name: string, keyId: string): Choice => ({
  button: 'Let in again',
  verb: 'approve',
  body: { keyId },
  title: `Let ${name} in again?`,
  text: 'Whichever copy of its key comes next goes on. Find the other one first.',
  yes: 'Approve',
  said: `${name} may come in again.`,
})
const revoke = (name: string): Choice => ({
  button: 'Revoke',
  verb: 'revoke',
  title: `Revoke ${name}?`,
  text: 'Its certificates are refused, its streams end within a second, and its key opens nothing. Approving it undoes that.',
  yes: 'Revoke',
  isDangerous: true,
  said: `${name} is revoked.`,
})
const forget = (name: string): Choice => ({
  button: 'Forget',
  verb: 'forget',
  title: `Forget ${name}?`,
  text: 'The name is free for whoever has a token for it, and the hub knows nothing of this device any more.',
  yes: 'Forget',
  isDangerous: true,
  said: `${name} is forgotten.`,
})

const textOr = (text: string | null) => text ?? <span class="muted">–</span>

const Identity = ({ detail: d }: { readonly detail: DeviceDetail }) => (
  <Card title="Identity">
    <dl class="pairs">
      <Pair name="namespace">{textOr(d.device.namespace || null)}</Pair>
      <Pair name="service account">{textOr(d.device.serviceAccount || null)}</Pair>
      <Pair name="SPIFFE id">{d.spiffeUri === null ? textOr(null) : <code>{d.spiffeUri}</code>}</Pair>
      <Pair name="key">
        {d.keyId === null ? <span class="muted">none of its own</span> : <Short text={d.keyId} chars={20} />}
      </Pair>
      <Pair name="token">{d.tokenId === null ? textOr(null) : <Short text={d.tokenId} chars={20} />}</Pair>
      <Pair name="node id">{d.nodeId === null ? textOr(null) : <code>{d.nodeId}</code>}</Pair>
      <Pair name="joined">
        <When ms={d.joinedMs} />
      </Pair>
      <Pair name="renewed">
        <When ms={d.renewedMs} />
      </Pair>
    </dl>
  </Card>
)

const DAY_MS = 86_400_000

function Certificates({ detail: { certificates } }: { readonly detail: DeviceDetail }) {
  const lives = useMemo(() => toLives(certificates), [certificates])
  if (certificates.length === 0)
    return (
      <Card title="Certificates">
        <p class="muted">The hub has certified nothing for it yet.</p>
      </Card>
    )
  const [newest] = certificates
  return (
    <Card title="Certificates">
      <dl class="pairs">
        <Pair name="newest ends">
          <When ms={newest!.notAfterMs} />
        </Pair>
        <Pair name="serial">
          <Short text={newest!.serial} chars={20} />
          {newest!.revoked && <span class="bad"> revoked</span>}
        </Pair>
      </dl>
      <Chart
        title="Days that the certificate in use was good for"
        unit="d"
        summary={`${plural(certificates.length, 'certificate')}, the newest of ${formatWhen(newest!.issuedMs)}.`}
        times={lives.times}
        series={lives.series}
      />
    </Card>
  )
}

/** A saw: what is left falls until the next certificate, or to the end. */
function toLives(certificates: DeviceDetail['certificates']) {
  const [times, left]: [number[], number[]] = [[], []]
  const oldestFirst = certificates.toReversed()
  for (const [i, { issuedMs, notAfterMs }] of oldestFirst.entries()) {
    const untilMs = Math.min(oldestFirst[i + 1]?.issuedMs ?? Math.min(Date.now(), notAfterMs), notAfterMs)
    for (const ms of [issuedMs, Math.max(issuedMs + 1, untilMs - 1)]) {
      times.push(ms)
      left.push(Math.max(0, (notAfterMs - ms) / DAY_MS))
    }
  }
  return { times, series: [{ label: 'days left', values: left }] }
}
