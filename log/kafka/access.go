package kafka

// accessTopic holds users, ACLs and quotas.
const accessTopic = "__grete_access"
