import { useRef, useState } from 'preact/hooks'
import type {
  RevisionItem,
  RolloutBody,
  RolloutItem,
  RolloutList,
  RolloutPreview,
} from '../../hub/console/rollout-schemas.ts'
import { post, Problem } from '../api.ts'
import { readLabels, readText } from '../form.ts'
import { formatCount, plural } from '../format.ts'
import { announce } from '../parts/announce.tsx'
import { ProblemNote } from '../parts/basics.tsx'
import { Differences } from '../parts/diff.tsx'
import { Dialog } from '../parts/dialog.tsx'
import { goTo, toRollout } from '../router.ts'

type Props = {
  /** '' : whichever is chosen. */
  readonly to: string
  readonly revisions: readonly RevisionItem[]
  readonly defaults: RolloutList['defaults']
  readonly close: () => void
}

export function RolloutForm({ to, revisions, defaults, close }: Props) {
  const [problem, setProblem] = useState<Problem>()
  const [isBusy, setBusy] = useState(false)
  const [isNow, setNow] = useState(false)
  const fields = useRef<HTMLFormElement>(null)
  const read = (): RolloutBody => readForm(new FormData(fields.current!))
  const { preview, look, forget } = usePreview(read, { setBusy, setProblem })
  const start = async (body: RolloutBody): Promise<void> => {
    setBusy(true)
    try {
      const { rollout } = await post<{ rollout: RolloutItem }>('/rollouts', body)
      announce(`Rollout ${rollout.id} has started.`)
      close()
      goTo(toRollout(rollout.id))
    } catch (thrown) {
      if (!(thrown instanceof Problem)) throw thrown
      setProblem(thrown)
      setBusy(false)
    }
  }
  const submit = (event: SubmitEvent): void => {
    event.preventDefault()
    // The waves are those that were shown.
    void start({ ...read(), ...(preview ? { id: preview.id } : {}) })
  }
  return (
    <Dialog title="Start a rollout" close={close}>
      <form ref={fields} onSubmit={submit} onInput={forget} class="fields">
        <Target to={to} revisions={revisions} />
        <label class="check">
          <input
            type="checkbox"
            name="now"
            checked={isNow}
            onChange={({ currentTarget }) => setNow(currentTarget.checked)}
          />
          to all of them at once, without waves and gates
        </label>
        {!isNow && <Pace defaults={defaults} />}
        <label>
          Why
          <input name="why" maxLength={500} placeholder="for the audit log" />
        </label>
        {problem && <ProblemNote problem={problem} />}
        {preview && <Preview preview={preview} />}
        <div class="actions">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button type="button" disabled={isBusy} onClick={look}>
            Preview
          </button>
          <button type="submit" class={isNow ? 'danger' : 'primary'} disabled={isBusy}>
            {isNow ? 'Send it to all now' : 'Start'}
          </button>
        </div>
      </form>
    </Dialog>
  )
}

type Telling = { readonly setBusy: (is: boolean) => void; readonly setProblem: (told: Problem | undefined) => void }

/** Who is in which wave, of what the form says; forgotten when it says something else. */
function usePreview(read: () => RolloutBody, { setBusy, setProblem }: Telling) {
  const [preview, setPreview] = useState<RolloutPreview>()
  const look = (): void => {
    setBusy(true)
    post<RolloutPreview>('/rollouts/preview', read())
      .then(
        (said) => {
          setPreview(said)
          setProblem(undefined)
        },
        (thrown: unknown) => {
          if (thrown instanceof Problem) setProblem(thrown)
        },
      )
      .finally(() => setBusy(false))
  }
  return { preview, look, forget: () => setPreview(undefined) }
}

function Preview({ preview: { to, waves, from } }: { readonly preview: RolloutPreview }) {
  const [most] = from
  return (
    <section class="preview" aria-label="Preview" role="status">
      <ol>
        {waves.map(({ percent, devices, away, names }, i) => (
          <li key={percent}>
            <details>
              <summary>
                Wave {i + 1}, up to {percent} %: {plural(devices, 'device')}
                {away > 0 && `, ${formatCount(away)} away`}
              </summary>
              <p class="muted">
                {names.join(', ')}
                {devices > names.length && ` and ${formatCount(devices - names.length)} more`}
              </p>
            </details>
          </li>
        ))}
      </ol>
      {from.map(({ revision, devices }) => (
        <p key={revision} class="muted">
          {plural(devices, 'device')} now to have {revision === null ? 'nothing yet' : <code>{revision}</code>}
        </p>
      ))}
      {most && most.revision !== null && most.revision !== to && (
        <Differences key={most.revision} from={most.revision} to={to} />
      )}
    </section>
  )
}

const Target = ({ to, revisions }: Pick<Props, 'to' | 'revisions'>) => (
  <>
    <label>
      Revision
      <select name="to" defaultValue={to} autoFocus>
        {revisions.map(({ id, use }) => (
          <option key={id} value={id} selected={id === to}>
            {use.length > 0 ? `${id} (${use.join(', ')})` : id}
          </option>
        ))}
      </select>
    </label>
    <label>
      Devices with these labels
      <input name="labels" placeholder="all; or site=north, line=3" />
    </label>
    <label>
      Or one device
      <input name="device" maxLength={253} placeholder="its name" />
    </label>
  </>
)

const Pace = ({ defaults }: Pick<Props, 'defaults'>) => (
  <>
    <label>
      Waves: share of the devices that have it after each
      <input name="waves" required maxLength={200} defaultValue={defaults.waves} />
    </label>
    <label>
      Seconds that each wave is watched
      <input name="soakSec" type="number" required min={0} max={604_800} defaultValue={defaults.soakSec} />
    </label>
    <label>
      Stops by itself at
      <input name="halt" required maxLength={200} defaultValue={defaults.halt} />
    </label>
  </>
)

function readForm(form: FormData): RolloutBody {
  const text = (name: string): string => readText(form, name)
  const now = form.get('now') !== null
  return {
    to: text('to'),
    labels: readLabels(text('labels')),
    ...(text('device') === '' ? {} : { device: text('device') }),
    ...(now ? {} : { waves: text('waves'), halt: text('halt'), soakSec: Number(text('soakSec')) }),
    ...(text('why') === '' ? {} : { why: text('why') }),
    now,
  }
}
