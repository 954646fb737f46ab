import { useEffect } from 'preact/hooks'
import type { RolloutDetail, RolloutItem } from '../../hub/console/rollout-schemas.ts'
import { post } from '../api.ts'
import { ofDevicesAndRollouts, useData } from '../data.ts'
import { formatCount, plural } from '../format.ts'
import { Card, Link, Loading, Pair, ProblemNote, When } from '../parts/basics.tsx'
import { Differences } from '../parts/diff.tsx'
import { useQuestion, type Question } from '../parts/dialog.tsx'
import { toRollout } from '../router.ts'
import { RolloutPill } from './rollouts.tsx'

/** What devices take is told as it comes; what is counted meanwhile is not. */
const AGAIN_MS = 4_000

export function Rollout({ id }: { readonly id: string }) {
  const { value, problem, reload } = useData<RolloutDetail>(toRollout(id), ofDevicesAndRollouts)
  const question = useQuestion()
  const isActive = value !== undefined && value.progress !== null
  useEffect(() => {
    if (!isActive) return undefined
    const timer = setInterval(() => document.hidden || reload(), AGAIN_MS)
    return () => clearInterval(timer)
  }, [isActive])
  if (!value) return problem ? <ProblemNote problem={problem} retry={reload} /> : <Loading />
  const { rollout, progress } = value
  return (
    <>
      {problem && <ProblemNote problem={problem} retry={reload} />}
      <p class="line" role="status">
        <RolloutPill state={rollout.state} />
        <span>
          wave {rollout.wave} of {rollout.waveCount}
        </span>
        <span class="muted">
          started <When ms={rollout.startedMs} /> by {rollout.by}
          {rollout.endedMs !== null && (
            <>
              , ended <When ms={rollout.endedMs} />
            </>
          )}
        </span>
      </p>
      {rollout.state === 'halted' ? (
        <div class="note bad" role="alert">
          <p>
            <strong>It stopped by itself: {rollout.reason}</strong>
          </p>
          <p>
            Its devices go back to what was good last. Look at those that are named, mend the resources, start anew.
          </p>
        </div>
      ) : (
        rollout.reason !== '' && <p>Why: {rollout.reason}</p>
      )}
      <Decisions detail={value} reload={reload} ask={question.ask} />
      <div class="columns">
        <div class="stack">
          {progress && <Waves rollout={rollout} progress={progress} />}
          {progress && <Gates rollout={rollout} progress={progress} />}
          <Compared detail={value} />
        </div>
        <Plan rollout={rollout} />
      </div>
      {question.dialog}
    </>
  )
}

type Progress = NonNullable<RolloutDetail['progress']>
type Shown = { readonly rollout: RolloutItem; readonly progress: Progress }

function Waves({ rollout, progress }: Shown) {
  const soaked = Math.min(rollout.soakedMs, rollout.soakMs)
  return (
    <Card title="Waves">
      <ol class="waves">
        {progress.waves.map((wave, i) => {
          const place = i + 1 < rollout.wave ? 'done' : i + 1 === rollout.wave ? 'now' : 'later'
          return (
            <li key={wave.percent} class={place} aria-current={place === 'now' ? 'step' : undefined}>
              <div class="line">
                <strong>Wave {i + 1}</strong> <span class="muted">up to {wave.percent} %</span>
                <span class="push">
                  {formatCount(wave.have)} of {plural(wave.devices, 'device')} have it
                </span>
              </div>
              <meter
                min={0}
                max={Math.max(1, wave.devices)}
                value={wave.have}
                aria-label={`Devices of wave ${i + 1}`}
              />
              {place !== 'later' && wave.refuse > 0 && (
                <p class="bad">{plural(wave.refuse, 'device')} refusing something</p>
              )}
              {wave.away > 0 && <p>{plural(wave.away, 'device')} away</p>}
              {place === 'now' && (
                <p>
                  watched for {Math.round(soaked / 1_000)} of {rollout.soakMs / 1_000} s
                  {rollout.state === 'paused' && ', paused'}
                </p>
              )}
            </li>
          )
        })}
      </ol>
    </Card>
  )
}

const UNITS = { devices: '', percent: ' %', times: '×' } as const
const WORDS = {
  rejected: 'devices refuse something',
  lost: 'devices are away',
  errors: 'requests fail',
} as const
const formatValue = (n: number): string => String(Number(n.toFixed(1)))

function Gates({ rollout, progress }: Shown) {
  const { gates, counted, traffic } = progress
  return (
    <Card title="When it stops by itself">
      {gates.length === 0 ? (
        <p>Never: it has no gates.</p>
      ) : (
        <ul class="list">
          {gates.map(({ gate, what, unit, value, limit }) => (
            <li key={gate}>
              <div class="line">
                <code>{gate}</code> <span class="muted">{WORDS[what]}</span>
                <strong class={value > limit ? 'push bad' : 'push'}>
                  {formatValue(value)}
                  {UNITS[unit]}{' '}
                  <span class="muted">
                    of {formatValue(limit)}
                    {UNITS[unit]}
                  </span>
                </strong>
              </div>
              {what === 'lost' && <p>Who is away counts after {rollout.awayMs / 1_000} s.</p>}
              {what === 'errors' && (
                <p>
                  {formatCount(traffic.failures)} of {plural(traffic.requests, 'request')} failed
                  {unit === 'times' && ', against those before; the hub looks at other devices, too'}. Fewer than five
                  say nothing.
                </p>
              )}
            </li>
          ))}
        </ul>
      )}
      <p class="muted">{plural(counted, 'device')} count: those that were there when their wave began.</p>
    </Card>
  )
}

function Compared({ detail: { rollout, may } }: { readonly detail: RolloutDetail }) {
  const [first] = rollout.before.filter(({ scope }) => scope === rollout.scope || scope === 'all').toReversed()
  if (!first) return null
  return (
    <Card title="What it changes">
      <p>
        From <code>{first.revision}</code> to <code>{rollout.to}</code>.
      </p>
      {may.compare ? (
        <Differences from={first.revision} to={rollout.to} />
      ) : (
        <p class="muted">What stands in the files is for operators of all namespaces.</p>
      )}
    </Card>
  )
}

const Plan = ({ rollout: r }: { readonly rollout: RolloutItem }) => (
  <Card title="Plan">
    <dl class="pairs">
      <Pair name="revision">
        <Link href={`/devices?search=${r.to}`} title="Devices that have it">
          <code>{r.to}</code>
        </Link>
      </Pair>
      <Pair name="for">{r.scope === 'all' ? 'all devices' : r.scope}</Pair>
      <Pair name="waves">{r.waves}</Pair>
      <Pair name="each watched">{r.soakMs / 1_000} s</Pair>
      <Pair name="stops at">{r.halt}</Pair>
      <Pair name="decided">
        <Link href={`/audit?subject=${r.id}`}>by whom and when</Link>
      </Pair>
    </dl>
  </Card>
)

type DecideProps = { readonly detail: RolloutDetail; readonly reload: () => void; readonly ask: (q: Question) => void }
type Choice = Omit<Question, 'act'> & { readonly button: string; readonly verb: string }

function Decisions({ detail, reload, ask }: DecideProps) {
  const choices = detail.may.decide ? listChoices(detail) : []
  if (choices.length === 0) return null
  return (
    <div class="actions" role="group" aria-label="Decisions">
      {choices.map((choice) => (
        <button
          type="button"
          key={choice.verb}
          class={choice.isDangerous === true ? 'danger' : ''}
          onClick={() =>
            ask({
              ...choice,
              act: async () => {
                await post(`${toRollout(detail.rollout.id)}/${choice.verb}`)
                reload()
              },
            })
          }
        >
          {choice.button}
        </button>
      ))}
    </div>
  )
}

function listChoices({ rollout: { id, state, before, to }, undo }: RolloutDetail): readonly Choice[] {
  const back = before.map(({ scope, revision }) => `${revision} (${scope})`).join(', ')
  const choices: Record<string, Choice> = {
    pause: {
      button: 'Pause',
      verb: 'pause',
      title: `Pause rollout ${id}?`,
      text: 'No further wave begins; the gates go on, and may still stop it.',
      yes: 'Pause',
      said: `Rollout ${id} is paused.`,
    },
    resume: {
      button: 'Resume',
      verb: 'resume',
      title: `Resume rollout ${id}?`,
      text: 'It goes on where it was.',
      yes: 'Resume',
      said: `Rollout ${id} goes on.`,
    },
    abort: {
      button: 'Abort',
      verb: 'abort',
      title: `Abort rollout ${id}?`,
      text: `Devices that have ${to} go back to what was good last: ${back}.`,
      yes: 'Abort',
      isDangerous: true,
      said: `Rollout ${id} is aborted.`,
    },
    undo: {
      button: 'Undo',
      verb: 'undo',
      title: `Undo rollout ${id}?`,
      text: `All its devices go back at once, without waves and gates, to what was in force before: ${back}.`,
      yes: 'Undo',
      isDangerous: true,
      said: `Rollout ${id} is undone.`,
    },
  }
  if (state === 'running') return [choices['pause']!, choices['abort']!]
  if (state === 'paused') return [choices['resume']!, choices['abort']!]
  return undo ? [choices['undo']!] : []
}
