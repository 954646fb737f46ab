/** What the device says when it is asked: its status, and its log for as long as somebody follows it. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Answer } from '../../../hub/console/fleet-schemas.ts'
import { post, Problem } from '../../api.ts'
import { Card, ProblemNote } from '../../parts/basics.tsx'
import { toDevice } from '../../router.ts'

const EVERY_MS = 5_000
/** Nobody may have looked for a long time: it stops by itself. */
const FOLLOW_MS = 5 * 60_000
const LINES = [50, 200, 1_000] as const
/** Of pino: what a line's number says. */
const LEVELS = [
  [10, 'trace'],
  [20, 'debug'],
  [30, 'info'],
  [40, 'warn'],
  [50, 'error'],
] as const

export function Asking({ name, isConnected }: { readonly name: string; readonly isConnected: boolean }) {
  const [text, setText] = useState<string>()
  const [problem, setProblem] = useState<Problem>()
  const [isBusy, setBusy] = useState(false)
  const ask = async (command: 'status' | 'logs', lines = 100): Promise<void> => {
    setBusy(true)
    try {
      const said = await post<Answer>(`${toDevice(name)}/ask`, { command, lines })
      setText(said.form === 'text' ? said.text : '')
      setProblem(undefined)
    } catch (thrown) {
      if (!(thrown instanceof Problem)) throw thrown
      setProblem(thrown)
      throw thrown
    } finally {
      setBusy(false)
    }
  }
  const quietly = (asked: Promise<void>): void => void asked.catch(() => undefined)
  return (
    <Card title="Ask the device">
      {!isConnected && <p class="muted">It is not connected, so it cannot answer.</p>}
      <div class="actions">
        <button type="button" disabled={isBusy || !isConnected} onClick={() => quietly(ask('status'))}>
          Status now
        </button>
      </div>
      <Logs ask={(lines) => ask('logs', lines)} isConnected={isConnected} text={text} />
      {problem && <ProblemNote problem={problem} />}
    </Card>
  )
}

type LogsProps = {
  readonly ask: (lines: number) => Promise<void>
  readonly isConnected: boolean
  readonly text: string | undefined
}

function Logs({ ask, isConnected, text }: LogsProps) {
  const [lines, setLines] = useState<number>(LINES[0])
  const [level, setLevel] = useState(10)
  const [isFollowing, setFollowing] = useState(false)
  useFollow(
    isFollowing && isConnected,
    () => ask(lines),
    () => setFollowing(false),
  )
  const shown = text === undefined ? undefined : filterLines(text, level)
  return (
    <>
      <div class="actions" role="group" aria-label="Log">
        <button
          type="button"
          disabled={!isConnected}
          aria-pressed={isFollowing}
          onClick={() => setFollowing(!isFollowing)}
        >
          {isFollowing ? 'Stop following the log' : 'Follow the log'}
        </button>
        <label class="line">
          Lines
          <select value={lines} onChange={({ currentTarget }) => setLines(Number(currentTarget.value))}>
            {LINES.map((n) => (
              <option key={n} value={n}>
                {n}
              </option>
            ))}
          </select>
        </label>
        <label class="line">
          From level
          <select value={level} onChange={({ currentTarget }) => setLevel(Number(currentTarget.value))}>
            {LEVELS.map(([n, word]) => (
              <option key={n} value={n}>
                {word}
              </option>
            ))}
          </select>
        </label>
        <span class="muted" role="status">
          {isFollowing ? `Asked every ${EVERY_MS / 1_000} s, for five minutes at most.` : ''}
        </span>
      </div>
      {shown !== undefined && (
        <pre tabIndex={0} class="answer" aria-label="What the device answered">
          {shown === '' ? 'It says nothing of this level.' : shown}
        </pre>
      )}
    </>
  )
}

/** Until it is stopped, the page is left, an answer is a refusal, or the time is over. */
function useFollow(isOn: boolean, ask: () => Promise<void>, stop: () => void): void {
  const latest = useRef(ask)
  latest.current = ask
  useEffect(() => {
    if (!isOn) return undefined
    const untilMs = Date.now() + FOLLOW_MS
    let timer: ReturnType<typeof setTimeout> | undefined
    let isOver = false
    const step = (): void => {
      latest.current().then(
        () => {
          if (isOver) return
          if (Date.now() >= untilMs) stop()
          else timer = setTimeout(step, EVERY_MS)
        },
        () => isOver || stop(),
      )
    }
    step()
    return () => {
      isOver = true
      clearTimeout(timer)
    }
  }, [isOn])
}

/** Lines of another form have no level: they are shown. */
function filterLines(text: string, least: number): string {
  return text
    .split('\n')
    .filter((line) => Number(/^\{"level":(\d{1,3})\b/.exec(line)?.[1] ?? Infinity) >= least)
    .join('\n')
}
