import { useState } from 'preact/hooks'
import type { Enrolment as Waiting, TokenItem, TokenList, Whoami } from '../../hub/console/schemas.ts'
import { post } from '../api.ts'
import { ofTopic, useData } from '../data.ts'
import { formatCount } from '../format.ts'
import { Card, Empty, Labels, Link, Loading, Pill, ProblemNote, When } from '../parts/basics.tsx'
import { useQuestion, type Question } from '../parts/dialog.tsx'
import { DECISIONS, Table } from '../parts/table.tsx'
import { toDevice } from '../router.ts'
import { KeptOut } from './kept-out.tsx'
import { mayIn, WaitingList, type Asking } from './waiting.tsx'
import { TokenForm } from './token-form.tsx'

const concerns = ofTopic('enrolment', 'tokens')

const mayAnywhere = (me: Whoami): boolean => me.grants.some(({ role }) => role !== 'viewer')

export function Enrolment({ me }: { readonly me: Whoami }) {
  const { value, problem, reload } = useData<Waiting>('/enrolment', concerns)
  const question = useQuestion()
  return (
    <>
      {problem && <ProblemNote problem={problem} retry={reload} />}
      {!value && !problem && <Loading />}
      {value && <WaitingList {...value} me={me} reload={reload} ask={question.ask} />}
      {value && <KeptOut {...value} me={me} reload={reload} ask={question.ask} />}
      <Tokens me={me} ask={question.ask} />
      {question.dialog}
    </>
  )
}

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
