import { useEffect, useState } from 'preact/hooks'
import type { LoginWays, Whoami } from '../../hub/console/schemas.ts'
import { ask, post, Problem } from '../api.ts'
import { Command, ProblemNote } from '../parts/basics.tsx'
import { goTo } from '../router.ts'

type Props = {
  readonly entered: (me: Whoami) => void
  /** Who is logged in already: a link of somebody else must not take their place unseen. */
  readonly current: Whoami | undefined
  readonly stay: () => void
}

const PREFIX = '#login='
const readLink = (): string | undefined =>
  location.hash.startsWith(PREFIX) ? location.hash.slice(PREFIX.length) : undefined

export function Login({ entered, current, stay }: Props) {
  const [link] = useState(readLink)
  const [problem, setProblem] = useState<Problem>()
  const [ways, setWays] = useState<LoginWays>()
  const [isBusy, setBusy] = useState(false)
  const enter = (token: string): void => {
    setBusy(true)
    post<Whoami>('/login', { token }).then(
      (me) => {
        goTo(location.pathname.startsWith('/login') ? '/' : location.pathname + location.search, { replace: true })
        entered(me)
      },
      (thrown: unknown) => {
        setBusy(false)
        forgetLink()
        if (thrown instanceof Problem) setProblem(thrown)
      },
    )
  }
  useEffect(() => {
    document.title = 'Log in · meshlet hub'
    const refused = new URLSearchParams(location.search).get('refused')
    if (refused !== null) setProblem(new Problem(403, { code: refused, ...OIDC_REFUSALS }))
    ask<LoginWays>('/login').then(setWays, () => {})
    if (link !== undefined && !current) enter(link)
  }, [])
  if (link !== undefined && current)
    return <Instead current={current} enter={() => enter(link)} isBusy={isBusy} problem={problem} stay={stay} />
  return (
    <main class="alone">
      <h1>
        <span class="mark" aria-hidden="true" /> meshlet hub
      </h1>
      {problem && <ProblemNote problem={problem} />}
      {isBusy ? <p role="status">Logging in…</p> : <Ways ways={ways} />}
    </main>
  )
}

const OIDC_REFUSALS = {
  message: 'The login at your organisation did not lead here.',
  remedy:
    'Try again; if it happens again, ask whoever runs the hub: its log says why. A link of `meshlet-hub login` works meanwhile.',
}

const Ways = ({ ways }: { readonly ways: LoginWays | undefined }) => (
  <>
    {ways?.oidc === true && (
      <p>
        <a class="button primary" href="/login/oidc">
          Log in with your organisation
        </a>
      </p>
    )}
    <p>
      {ways?.oidc === true ? 'Or by' : 'You log in by'} a link that is good for one login. On the machine of the hub,
      type:
    </p>
    <Command text="meshlet-hub login" />
    <p class="muted">
      <code>--role viewer</code> or <code>--role operator</code> give less than everything, <code>--namespace</code>{' '}
      does so for a part of the fleet.
    </p>
  </>
)

function Instead(p: {
  current: Whoami
  enter: () => void
  stay: () => void
  isBusy: boolean
  problem: Problem | undefined
}) {
  return (
    <main class="alone">
      <h1>Log in again?</h1>
      <p>
        You are logged in as {p.current.name}. The link that you opened is for another login, which takes its place.
      </p>
      {p.problem && <ProblemNote problem={p.problem} />}
      <div class="actions">
        <button
          type="button"
          onClick={() => {
            forgetLink()
            p.stay()
          }}
        >
          Stay {p.current.name}
        </button>
        <button type="button" class="primary" disabled={p.isBusy} onClick={p.enter}>
          Use the link
        </button>
      </div>
    </main>
  )
}

/** It stays in no history and no bookmark. */
function forgetLink(): void {
  goTo(location.pathname + location.search, { replace: true })
}
