import { useState } from 'preact/hooks'
import type { TokenBody, TokenMade, Whoami } from '../../hub/console/schemas.ts'
import { post, Problem } from '../api.ts'
import { readLabels, readText } from '../form.ts'
import { Command, ProblemNote, When } from '../parts/basics.tsx'
import { Dialog } from '../parts/dialog.tsx'

const LIVES = [
  [3_600, 'an hour'],
  [86_400, 'a day'],
  [7 * 86_400, 'a week'],
  [30 * 86_400, 'thirty days'],
] as const

export function TokenForm({ me, made, close }: { me: Whoami; made: () => void; close: () => void }) {
  const [token, setToken] = useState<TokenMade>()
  const [problem, setProblem] = useState<Problem>()
  const [isBusy, setBusy] = useState(false)
  const create = (body: TokenBody): void => {
    setBusy(true)
    post<TokenMade>('/tokens', body)
      .then(
        (said) => {
          setToken(said)
          setProblem(undefined)
          made()
        },
        (thrown: unknown) => {
          if (thrown instanceof Problem) setProblem(thrown)
        },
      )
      .finally(() => setBusy(false))
  }
  return (
    <Dialog title={token ? 'The token, once' : 'New token'} close={close}>
      {token ? (
        <Shown token={token} close={close} />
      ) : (
        <Fields me={me} isBusy={isBusy} problem={problem} create={create} close={close} />
      )}
    </Dialog>
  )
}

function Shown({ token, close }: { token: TokenMade; close: () => void }) {
  return (
    <>
      <p>
        It is shown now and never again, and ends <When ms={token.expiresMs} />. On the device, as root:
      </p>
      <Command text={`meshlet join ${token.joinAddress} --token - <<'END'\n${token.token}\nEND`} />
      <p class="muted">
        The address is the first of `dnsNames` in hub.yaml; any by which the device reaches the hub will do.
      </p>
      <div class="actions">
        <button type="button" class="primary" onClick={close}>
          I have it
        </button>
      </div>
    </>
  )
}

type FieldsProps = {
  me: Whoami
  isBusy: boolean
  problem: Problem | undefined
  create: (body: TokenBody) => void
  close: () => void
}

function Fields({ me, isBusy, problem, create, close }: FieldsProps) {
  const own = me.grants.find(({ namespace, role }) => namespace !== '*' && role !== 'viewer')
  const submit = (event: SubmitEvent): void => {
    event.preventDefault()
    create(readForm(new FormData(event.currentTarget as HTMLFormElement)))
  }
  return (
    <form onSubmit={submit} class="fields">
      <label>
        Names of devices
        <input name="nodes" required maxLength={253} placeholder="gw-17, or gw-* for any that begins so" autoFocus />
      </label>
      <label>
        Namespace
        <input
          name="namespace"
          required
          maxLength={63}
          defaultValue={own?.namespace ?? 'edge'}
          pattern="[a-z0-9]([a-z0-9\-]*[a-z0-9])?"
        />
      </label>
      <label>
        Service account
        <input name="serviceAccount" required maxLength={253} defaultValue="gateway" />
      </label>
      <Bounds />
      {problem && <ProblemNote problem={problem} />}
      <div class="actions">
        <button type="button" onClick={close}>
          Cancel
        </button>
        <button type="submit" class="primary" disabled={isBusy}>
          Make it
        </button>
      </div>
    </form>
  )
}

const Bounds = () => (
  <>
    <label>
      Good for
      <select name="ttlSec" defaultValue="86400">
        {LIVES.map(([sec, text]) => (
          <option key={sec} value={sec}>
            {text}
          </option>
        ))}
      </select>
    </label>
    <label>
      Devices that may join with it
      <input name="maxUses" type="number" min={1} max={999_999_999} placeholder="any number" />
    </label>
    <label>
      Labels
      <input name="labels" placeholder="site=north, line=3" />
    </label>
    <label>
      Only from these addresses
      <input name="cidrs" placeholder="10.2.0.0/16" />
    </label>
    <label class="check">
      <input type="checkbox" name="approval" /> who joins waits for approval
    </label>
  </>
)

function readForm(form: FormData): TokenBody {
  const text = (name: string): string => readText(form, name)
  const list = (name: string): readonly string[] =>
    text(name)
      .split(/[\s,]+/)
      .filter((part) => part !== '')
  return {
    nodes: text('nodes'),
    namespace: text('namespace'),
    serviceAccount: text('serviceAccount'),
    ttlSec: Number(text('ttlSec')),
    ...(text('maxUses') === '' ? {} : { maxUses: Number(text('maxUses')) }),
    labels: readLabels(text('labels')),
    cidrs: [...list('cidrs')],
    approval: form.get('approval') !== null,
  }
}
