import { testKills } from './profile-kills.ts'

testKills({ profile: 'eco', kills: 20 })
