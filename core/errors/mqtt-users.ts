/** Users of the MQTT broker, and what they are proved by. */
import type { Row } from './row.ts'

export const MQTT_USERS = {
  MESH_MQTT_BAD_CREDENTIALS: {
    origin: 'downstream',
    retry: 'never',
    http: 401,
    flag: 'DENY',
    remedy:
      'The message says what is wrong; the client is not told. `meshlet mqtt passwd FILE USER` gives a user a new password, a token comes anew from its issuer.',
  },
  MESH_MQTT_USER_NEEDED: {
    origin: 'downstream',
    retry: 'never',
    http: 401,
    flag: 'DENY',
    remedy:
      'Give the client a user: name and password, a token or a certificate that mqtt.users takes. Where clients without a user are meant to come in, say `anonymous: true` in the `mqtt` section of that listener.',
  },
  MESH_MQTT_USER_ENDED: {
    origin: 'downstream',
    retry: 'never',
    http: 401,
    flag: 'DENY',
    remedy: 'The client comes back with its new token or password; a user that was removed does not.',
  },
  MESH_MQTT_USERS_FILE: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'UAEX',
    remedy:
      'Correct the file that mqtt.users names; it is read again when it changes. `meshlet mqtt passwd FILE USER` writes lines for a password file. Lines that are wrong keep their own users out.',
  },
  MESH_JWKS_UNAVAILABLE: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'UAEX',
    remedy:
      "Look whether this machine reaches the address and trusts its certificate (the machine's authorities count; for `remote_jwks` the TLS settings of its cluster). It is asked again by itself; tokens of this issuer are refused until then.",
  },
  MESH_MQTT_CREDENTIALS: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: 'UAEX',
    remedy:
      'Put the password or token into the file that mqtt.bridges names; it is read again at the next connection, which comes by itself.',
  },
  MESH_MQTT_USER_UNPROVED: {
    origin: 'config',
    retry: 'never',
    http: 403,
    flag: '-',
    remedy:
      'Let users be proved there (mqtt.users), or write the rule with %c and clientIds, with %s or with principals.',
  },
} as const satisfies Record<string, Row>
