import { useState } from 'preact/hooks'
import type { Enrolment as Waiting, JoinRequestItem, TokenItem, TokenList, Whoami } from '../../hub/console/schemas.ts'
import { post } from '../api.ts'
import { ofTopic, useData } from '../data.ts'
import { formatCount } from '../format.ts'
import { Card, Empty, Labels, Link, Loading, Pill, ProblemNote, Short, When } from '../parts/basics.tsx'
import { DeviceItem } from '../parts/device-item.tsx'
import { useQuestion, type Question } from '../parts/dialog.tsx'
import { DECISIONS, Table } from '../parts/table.tsx'
import { toDevice } from '../router.ts'
import { TokenForm } from './token-form.tsx'

const concerns = ofTopic('enrolment', 'tokens')

export const mayIn = (me: Whoami, role: 'operator' | 'admin', namespace: string): boolean =>
  me.grants.some((g) => (g.namespace === '*' || g.namespace === namespace) && (g.role === 'admin' || g.role === role))
const mayAnywhere = (me: Whoami): boolean => me.grants.some(({ role }) => role !== 'viewer')

export function Enrolment({ me }: { readonly me: Whoami }) {
  const { value, problem, reload } = useData<Waiting>('/enrolment', concerns)
  const question = useQuestion()
  return (
    <>
      {problem && <ProblemNote problem={problem} retry={reload} />}
      {!value && !problem && <Loading />}
      {value && <WaitingList {...value} me={me} reload={reload} ask={question.ask} />}
      {value && <KeptOut {...value} />}
      <Tokens me={me} ask={question.ask} />
      {question.dialog}
    </>
  )
}

type Asking = { readonly me: Whoami; readonly reload: () => void; readonly ask: (q: Question) => void }

function WaitingList({ waiting, me, reload, ask }: Waiting & Asking) {
  return (
    <Card title="Waiting for approval">
      {waiting.length === 0 ? (
        <p class="muted">Nobody waits.</p>
      ) : (
        <ul class="list">
          {waiting.map((one) => (
            <WaitingRow key={one.keyId} one={one} me={me} reload={reload} ask={ask} />
          ))}
        </ul>
      )}
    </Card>
  )
}

function WaitingRow({ one, me, reload, ask }: Asking & { readonly one: JoinRequestItem }) {
  const { name, keyId, namespace } = one
  const decide =
    (verb: string, body: object = {}) =>
    async (): Promise<void> => {
      await post(`${toDevice(name)}/${verb}`, body)
      reload()
    }
  return (
    <li>
      <div class="line">
        <Link href={toDevice(name)}>{name}</Link> <Labels labels={one.labels} />
        <span class="muted">
          {namespace}/{one.serviceAccount}, from {one.address}, <When ms={one.askedMs} />
        </span>
        {mayIn(me, 'operator', namespace) && (
          <span class="push actions">
            <button
              type="button"
              class="primary"
              aria-label={`Approve ${name}`}
              onClick={() =>
                ask({
                  title: `Let ${name} in?`,
                  text: <Consequence one={one} />,
                  yes: 'Approve',
                  act: decide('approve', { keyId }),
                  said: `${name} is approved.`,
                })
              }
            >
              Approve
            </button>
            <button
              type="button"
              aria-label={`Deny ${name}`}
              onClick={() =>
                ask({
                  title: `Not let ${name} in?`,
                  text: <p>The token that it came with is as good as before.</p>,
                  yes: 'Deny',
                  act: decide('deny'),
                  said: `${name} is denied.`,
                })
              }
            >
              Deny
            </button>
          </span>
        )}
      </div>
      <p>
        Because {one.why}. Key <Short text={keyId} />
      </p>
    </li>
  )
}

const Consequence = ({ one }: { readonly one: JoinRequestItem }) => (
  <>
    <p>
      The key {one.keyId} from {one.address} becomes {one.name}.
    </p>
    {one.holder !== null && one.holder !== one.keyId && (
      <p class="bad">The name belongs to the key {one.holder} now, which loses it: its certificates are refused.</p>
    )}
  </>
)

const KeptOut = ({ clones, keptOut }: Waiting) =>
  clones.length + keptOut.length === 0 ? null : (
    <Card title="Found twice, or kept out">
      <ul class="list">
        {[...clones, ...keptOut.filter((row) => !row.cloned)].map((row) => (
          <DeviceItem key={row.name} row={row}>
            {row.cloned && <Pill tone="bad">two copies</Pill>}
          </DeviceItem>
        ))}
      </ul>
    </Card>
  )

const PAGE = 100

function Tokens({ me, ask }: Pick<Asking, 'me' | 'ask'>) {
  const [offset, setOffset] = useState(0)
  const { value, problem, reload } = useData<TokenList>(`/tokens?offset=${offset}&limit=${PAGE}`, concerns)
  const [isMaking, setMaking] = useState(false)
  const revoke = (token: TokenItem): Question => ({
    title: 'Revoke the token?',
    text: (
      <p>
        It opens nothing any more, and certificates that were given for it alone are refused. Devices with a key of
        their own go on.
      </p>
    ),
    yes: 'Revoke',
    isDangerous: true,
    act: async () => {
      await post(`/tokens/${encodeURIComponent(token.id)}/revoke`)
      reload()
    },
    said: 'The token is revoked.',
  })
  return (
    <Card title="Join tokens">
      {mayAnywhere(me) && (
        <div class="actions">
          <button type="button" class="primary" onClick={() => setMaking(true)}>
            New token
          </button>
        </div>
      )}
      {problem && <ProblemNote problem={problem} retry={reload} />}
      {value?.tokens.length === 0 && (
        <Empty title="There is no token.">
          <p>A device joins with one: make it here, or with `meshlet-hub token create`.</p>
        </Empty>
      )}
      {value && value.tokens.length > 0 && (
        <TokenTable tokens={value.tokens} me={me} revoke={(token) => ask(revoke(token))} />
      )}
      {value && value.total > PAGE && (
        <div class="actions">
          <button type="button" disabled={offset === 0} onClick={() => setOffset(Math.max(0, offset - PAGE))}>
            Newer
          </button>
          <span class="muted">
            {formatCount(offset + 1)} to {formatCount(Math.min(value.total, offset + PAGE))} of{' '}
            {formatCount(value.total)}
          </span>
          <button type="button" disabled={offset + PAGE >= value.total} onClick={() => setOffset(offset + PAGE)}>
            Older
          </button>
        </div>
      )}
      {isMaking && <TokenForm me={me} made={reload} close={() => setMaking(false)} />}
    </Card>
  )
}

const TONES = { valid: 'ok', revoked: 'bad', ended: 'quiet', 'used up': 'quiet' } as const

function TokenTable(p: { tokens: readonly TokenItem[]; me: Whoami; revoke: (token: TokenItem) => void }) {
  return (
    <Table label="Join tokens, a table" columns={['For', 'Identity', 'State', 'Uses', 'Ends', 'Devices', DECISIONS]}>
      {p.tokens.map((t) => (
        <tr key={t.id}>
          <td>
            <span title={t.id}>{t.nodes ?? '–'}</span> {t.approval && <Pill tone="accent">approval</Pill>}{' '}
            <Labels labels={t.labels} />
          </td>
          <td>
            {t.namespace}/{t.serviceAccount}
          </td>
          <td>
            <Pill tone={TONES[t.state]}>{t.state}</Pill>
          </td>
          <td class="number">
            {formatCount(t.uses)}
            {t.maxUses !== null && ` of ${formatCount(t.maxUses)}`}
          </td>
          <td>
            <When ms={t.expiresMs} />
          </td>
          <td>
            {t.devices.map((name) => (
              <span key={name}>
                <Link href={toDevice(name)}>{name}</Link>{' '}
              </span>
            ))}
            {t.devicesTotal > t.devices.length && `and ${formatCount(t.devicesTotal - t.devices.length)} more`}
          </td>
          <td>
            {t.state === 'valid' && mayIn(p.me, 'operator', t.namespace) && (
              <button
                type="button"
                aria-label={`Revoke the token for ${t.nodes ?? 'no name'}`}
                onClick={() => p.revoke(t)}
              >
                Revoke
              </button>
            )}
          </td>
        </tr>
      ))}
    </Table>
  )
}
