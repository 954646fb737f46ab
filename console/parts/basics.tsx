/** Small parts that every view is made of. */
import type { AnchorHTMLAttributes, ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { DeviceState } from '../../hub/console/schemas.ts'
import type { Problem } from '../api.ts'
import { formatAgo, formatWhen } from '../format.ts'
import { goTo } from '../router.ts'

const STEP_MS = 30_000
export function useNow(): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), STEP_MS)
    return () => clearInterval(timer)
  }, [])
  return now
}

/** A time of the hub, told from now; the exact one on hover and for programs. */
export function When({ ms }: { readonly ms: number | null }) {
  const now = useNow()
  if (ms === null) return <span class="muted">–</span>
  return (
    <time dateTime={new Date(ms).toISOString()} title={formatWhen(ms)}>
      {formatAgo(ms, now)}
    </time>
  )
}

/** Within the page, without a load; with a modifier as any other link. */
export function Link({ href, children, ...rest }: AnchorHTMLAttributes<HTMLAnchorElement> & { href: string }) {
  const onClick = (event: MouseEvent): void => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return
    event.preventDefault()
    goTo(href)
  }
  return (
    <a href={href} onClick={onClick} {...rest}>
      {children}
    </a>
  )
}

const STATE_TONES: Readonly<Record<DeviceState, string>> = {
  connected: 'ok',
  gone: 'warn',
  joined: 'quiet',
  pending: 'accent',
  suspended: 'bad',
  revoked: 'quiet',
  unknown: 'quiet',
}
export const StatePill = ({ state }: { readonly state: DeviceState }) => <Pill tone={STATE_TONES[state]}>{state}</Pill>
export const Pill = ({ tone, children }: { readonly tone: string; readonly children: ComponentChildren }) => (
  <span class={`pill ${tone}`}>{children}</span>
)

export const Labels = ({ labels }: { readonly labels: Readonly<Record<string, string>> }) => (
  <>
    {Object.entries(labels).map(([key, value]) => (
      <span class="label" key={key}>
        {key}={value}
      </span>
    ))}
  </>
)

/** Long ids: their beginning, and the whole for whoever copies or hovers. */
export const Short = ({ text, chars = 12 }: { readonly text: string; readonly chars?: number }) => (
  <code title={text}>{text.length > chars ? `${text.slice(0, chars)}…` : text}</code>
)

export function ProblemNote({ problem, retry }: { readonly problem: Problem; readonly retry?: () => void }) {
  return (
    <div class="note bad" role="alert">
      <p>
        <strong>{problem.message}</strong>
      </p>
      <p>{problem.remedy}</p>
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  )
}

/** Nothing is there: what to do for there to be something. */
export const Empty = ({ title, children }: { readonly title: string; readonly children?: ComponentChildren }) => (
  <div class="empty">
    <p>
      <strong>{title}</strong>
    </p>
    {children}
  </div>
)

/** Of a list of pairs. */
export const Pair = ({ name, children }: { readonly name: string; readonly children: ComponentChildren }) => (
  <>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </>
)

export const Loading = () => <p class="muted loading">Loading…</p>

export function Command({ text }: { readonly text: string }) {
  const [copied, setCopied] = useState(false)
  const copy = (): void => {
    navigator.clipboard?.writeText(text).then(
      () => setCopied(true),
      () => setCopied(false),
    )
  }
  return (
    <div class="command">
      <pre tabIndex={0}>{text}</pre>
      <button type="button" onClick={copy}>
        {copied ? 'Copied' : 'Copy'}
      </button>
    </div>
  )
}

export function Card({ title, children, ...rest }: { title: string; children: ComponentChildren; class?: string }) {
  const id = `card-${title.toLowerCase().replaceAll(/[^a-z]+/g, '-')}`
  return (
    <section aria-labelledby={id} {...rest} class={`card ${rest.class ?? ''}`}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  )
}
