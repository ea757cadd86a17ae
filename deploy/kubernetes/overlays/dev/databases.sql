create database profile;
create database scoring;
create database campaigns;
create database feedback;
