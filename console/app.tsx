/** The frame around every view: who is logged in, where one can go, and whether what is shown is live. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { JSX } from 'preact'
import type { Whoami } from '../hub/console/schemas.ts'
import { ask, hearLoggedOut, Problem, remove } from './api.ts'
import { live, useLinkState } from './live.ts'
import { Audit } from './pages/audit.tsx'
import { Device } from './pages/device/device.tsx'
import { Devices } from './pages/devices.tsx'
import { Enrolment } from './pages/enrolment.tsx'
import { Login } from './pages/login.tsx'
import { Overview } from './pages/overview.tsx'
import { Rollout } from './pages/rollout.tsx'
import { Rollouts } from './pages/rollouts.tsx'
import { Sessions } from './pages/sessions.tsx'
import { Announcements } from './parts/announce.tsx'
import { Link, Loading, ProblemNote } from './parts/basics.tsx'
import { useKeptFocus } from './parts/keep-focus.ts'
import { usePlace, type Place } from './router.ts'
import { readTheme, setTheme, THEMES, type Theme } from './theme.ts'

type View = { readonly title: string; readonly show: (place: Place, me: Whoami) => JSX.Element }

function findView({ path: [first, second] }: Place): View {
  switch (first) {
    case undefined:
    case 'login':
      return { title: 'Overview', show: () => <Overview /> }
    case 'devices':
      return second === undefined
        ? { title: 'Devices', show: (place) => <Devices query={place.query} /> }
        : { title: second, show: () => <Device key={second} name={second} /> }
    case 'rollouts':
      return second === undefined
        ? { title: 'Rollouts', show: () => <Rollouts /> }
        : { title: `Rollout ${second}`, show: () => <Rollout key={second} id={second} /> }
    case 'enrolment':
      return { title: 'Enrolment', show: (_, me) => <Enrolment me={me} /> }
    case 'audit':
      return { title: 'Audit', show: (place) => <Audit query={place.query} /> }
    case 'sessions':
      return { title: 'Sessions', show: () => <Sessions /> }
    default:
      return { title: 'Not found', show: () => <NotFound /> }
  }
}

const NAVIGATION = [
  ['/', 'Overview'],
  ['/devices', 'Devices'],
  ['/rollouts', 'Rollouts'],
  ['/enrolment', 'Enrolment'],
  ['/audit', 'Audit'],
] as const

export function App() {
  const [me, setMe] = useState<Whoami | 'nobody'>()
  const [problem, setProblem] = useState<Problem>()
  const look = (): void => {
    ask<Whoami>('/session').then(
      (said) => {
        setMe(said)
        setProblem(undefined)
      },
      (thrown: unknown) => {
        if (thrown instanceof Problem && thrown.status !== 401) setProblem(thrown)
        else setMe('nobody')
      },
    )
  }
  useEffect(() => {
    look()
    // A link to log in, typed where the page is open already.
    addEventListener('hashchange', () => location.hash.startsWith('#login=') && location.reload())
    return hearLoggedOut(() => setMe('nobody'))
  }, [])
  const isIn = me !== undefined && me !== 'nobody'
  // A link to log in counts also where somebody is logged in already.
  const hasLink = location.hash.startsWith('#login=')
  if (me === 'nobody' || (isIn && hasLink))
    return <Login entered={setMe} current={isIn ? me : undefined} stay={() => setMe(isIn ? { ...me } : me)} />
  if (isIn) return <Frame me={me} />
  return <main class="alone">{problem ? <ProblemNote problem={problem} retry={look} /> : <Loading />}</main>
}

function Frame({ me }: { readonly me: Whoami }) {
  const place = usePlace()
  const view = findView(place)
  const heading = useRef<HTMLHeadingElement>(null)
  const isFirst = useRef(true)
  const at = `/${place.path.join('/')}`
  useKeptFocus(heading)
  useEffect(() => live.start(), [])
  useEffect(() => {
    document.title = `${view.title} · meshlet hub`
    // Another view begins where its heading is; the first one, where the browser says.
    if (!isFirst.current) heading.current?.focus()
    isFirst.current = false
    scrollTo(0, 0)
  }, [at])
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header class="bar">
        <Link href="/" class="brand">
          <span class="mark" aria-hidden="true" /> meshlet hub
        </Link>
        <LinkIndicator />
        <ThemeSwitch />
        <Me me={me} />
      </header>
      <nav class="main-nav" aria-label="Views">
        <ul>
          {NAVIGATION.filter(([href]) => href !== '/rollouts' || seesAll(me)).map(([href, text]) => (
            <li key={href}>
              <Link href={href} aria-current={isAt(href, place) ? 'page' : undefined}>
                {text}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <main id="main" tabIndex={-1}>
        <h1 ref={heading} tabIndex={-1}>
          {view.title}
        </h1>
        {view.show(place, me)}
      </main>
      <Announcements />
    </>
  )
}

/** Rollouts are for devices of any namespace. */
const seesAll = ({ grants }: Whoami): boolean => grants.some(({ namespace }) => namespace === '*')
const isAt = (href: string, { path }: Place): boolean => (path[0] ?? '') === href.slice(1)

function LinkIndicator() {
  const state = useLinkState()
  const text = state === 'live' ? 'Live' : state === 'paused' ? 'Paused' : 'Connecting…'
  return (
    <span class={`link-state ${state}`} role="status">
      {text}
    </span>
  )
}

function ThemeSwitch() {
  const [theme, setOwn] = useState(readTheme)
  const change = (next: Theme): void => {
    setOwn(next)
    setTheme(next)
  }
  return (
    <label class="theme">
      <span class="hidden">Colours</span>
      <select value={theme} onChange={({ currentTarget }) => change(currentTarget.value as Theme)}>
        {THEMES.map((one) => (
          <option key={one} value={one}>
            {one === 'system' ? 'System colours' : one === 'light' ? 'Light' : 'Dark'}
          </option>
        ))}
      </select>
    </label>
  )
}

function Me({ me }: { readonly me: Whoami }) {
  const isAdmin = me.grants.some(({ namespace, role }) => namespace === '*' && role === 'admin')
  const logout = (): void => {
    remove('/session').then(
      () => location.assign('/login'),
      () => location.assign('/login'),
    )
  }
  const rights = me.grants
    .map(({ role, namespace }) => (namespace === '*' ? role : `${role} of ${namespace}`))
    .join(', ')
  return (
    <div class="me">
      <span title={rights}>
        {me.name} <span class="muted">{rights}</span>
      </span>
      {isAdmin && <Link href="/sessions">Sessions</Link>}
      <button type="button" onClick={logout}>
        Log out
      </button>
    </div>
  )
}

const NotFound = () => (
  <p>
    There is no such view. <Link href="/">Go to the overview</Link>.
  </p>
)
